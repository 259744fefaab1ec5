//! The contract of a connection method, and its defaults.

use offshoot_codec::Secret;
use offshoot_proto::connect::recipe::Recipe;
use std::time::Duration;

/// How long a hop may take unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Seconds between heartbeats on a link, unless its method or its hop says otherwise.
pub const DEFAULT_HEARTBEAT: u32 = 15;

/// What every method can do.
pub trait Method {
    /// This hop as data. `nonce` is text that no other program prints: for prompts of our own.
    fn recipe(&self, nonce: &str) -> Recipe;

    /// The last part of the new context's name, for instance `ssh.web1`.
    fn name(&self) -> String;

    /// Sets the time the whole hop may take.
    fn set_timeout(&mut self, timeout: Duration);

    /// Sets the password, where the method knows one.
    fn set_password(&mut self, password: Secret);

    /// Sets how many hops may log in at once by the same way, where the method limits that.
    fn set_handshakes(&mut self, _count: u32) {}

    /// Returns the seconds between heartbeats on the link, unless the hop sets another number; 0 for none.
    fn heartbeat(&self) -> u32 {
        DEFAULT_HEARTBEAT
    }
}

impl<M: Method + ?Sized> Method for Box<M> {
    fn recipe(&self, nonce: &str) -> Recipe {
        (**self).recipe(nonce)
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

    fn set_handshakes(&mut self, count: u32) {
        (**self).set_handshakes(count);
    }

    fn heartbeat(&self) -> u32 {
        (**self).heartbeat()
    }
}
