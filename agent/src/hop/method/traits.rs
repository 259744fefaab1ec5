//! The contract of a connection method, and its defaults.

use super::bad_option::BadOption;
use offshoot_codec::Secret;
use offshoot_proto::connect::recipe::Recipe;
use std::time::Duration;

/// The longest time for a hop, unless it sets another.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Seconds between heartbeats on a link, unless its method or its hop sets another number.
pub const DEFAULT_HEARTBEAT: u32 = 15;

/// A way to make a hop.
pub trait Method {
    /// Returns the hop as data. `nonce` is a text that no other program prints, for prompts of our
    /// own.
    fn recipe(&self, nonce: &str) -> Recipe;

    /// Checks what the method's program would take for something else.
    ///
    /// # Errors
    /// Returns the key and the value of the setting that is wrong.
    fn check(&self) -> Result<(), BadOption> {
        Ok(())
    }

    /// Returns the last part of the new context's name, for instance `ssh.web1`.
    fn name(&self) -> String;

    /// Sets the longest time for the whole hop.
    fn set_timeout(&mut self, timeout: Duration);

    /// Sets the password. Ignored by a method that asks for none.
    fn set_password(&mut self, password: Secret);

    /// Sets whether the start-up files of a login run, and returns true. A method without a way of
    /// its own returns false, and its shell does it.
    fn set_login(&mut self, _login: bool) -> bool {
        false
    }

    /// Sets a variable of the agent's environment in the program's own way, and returns true. If it
    /// returns false, the shell does it.
    fn set_env(&mut self, _name: &str, _value: &str) -> bool {
        false
    }

    /// Sets the agent's working directory in the program's own way, and returns true. If it returns
    /// false, the shell does it.
    fn set_directory(&mut self, _directory: &str) -> bool {
        false
    }

    /// Prepares the recipe for somebody who answers questions. Ignored by a method whose program
    /// asks in any case.
    fn set_interactive(&mut self) {}

    /// Sets the number of hops that may log in at once by the same route. Ignored by a method
    /// without such a limit.
    fn set_handshakes(&mut self, _count: u32) {}

    /// Returns the seconds between heartbeats on the link, unless the hop sets another number; 0
    /// for none.
    fn heartbeat(&self) -> u32 {
        DEFAULT_HEARTBEAT
    }
}

impl<M: Method + ?Sized> Method for Box<M> {
    fn recipe(&self, nonce: &str) -> Recipe {
        (**self).recipe(nonce)
    }

    fn check(&self) -> Result<(), BadOption> {
        (**self).check()
    }

    fn name(&self) -> String {
        (**self).name()
    }

    fn set_timeout(&mut self, timeout: Duration) {
        (**self).set_timeout(timeout);
    }

    fn set_password(&mut self, password: Secret) {
        (**self).set_password(password);
    }

    fn set_login(&mut self, login: bool) -> bool {
        (**self).set_login(login)
    }

    fn set_env(&mut self, name: &str, value: &str) -> bool {
        (**self).set_env(name, value)
    }

    fn set_directory(&mut self, directory: &str) -> bool {
        (**self).set_directory(directory)
    }

    fn set_interactive(&mut self) {
        (**self).set_interactive();
    }

    fn set_handshakes(&mut self, count: u32) {
        (**self).set_handshakes(count);
    }

    fn heartbeat(&self) -> u32 {
        (**self).heartbeat()
    }
}
