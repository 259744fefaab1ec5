//! The context that programs run in.

use crate::context::Context;
use crate::hop::method::{DEFAULT_HEARTBEAT, Local, Method as _};
use crate::runtime::extensions::locked;
use offshoot_bootstrap::Platform;
use offshoot_proto::{ContextId, Result};
use std::sync::{Arc, Mutex};

/// The child that the programs of a root run in, and the user and group that it was started for.
#[derive(Default)]
struct Home(Mutex<Option<(ContextId, (u32, u32))>>);

impl Context {
    /// Returns the context that runs the programs of this one. For the root it is a child, which is
    /// connected at the first use and again if this process has changed its user. An agent runs
    /// them itself, and so does a root without an agent for this machine.
    pub(crate) fn place_of_programs(&self) -> Result<ContextId> {
        let user = (
            offshoot_sys::user::effective(),
            offshoot_sys::user::effective_group(),
        );
        let home: Arc<Home> = self.node().extensions.get();
        let mut place = locked(&home.0);
        {
            let mut core = self.node().lock();
            let elsewhere = core.images.are_found() && core.node.id() == self.id() && !core.stopped;
            let image = Platform::host()
                .filter(|_| elsewhere)
                .map(|host| core.images.get(host));
            if !matches!(image, Some(Ok(Some(_)))) {
                return Ok(self.id());
            }
            if let Some((id, of)) = *place
                && of == user
                && core.node.router.link_to(id).is_some()
            {
                return Ok(id);
            }
        }
        let recipe = Local::default().recipe("");
        // Unscoped, because later programs use it too, after the call that needed it first has
        // ended.
        let child = self
            .clone()
            .unscoped()
            .open_recipe(recipe, self.name(), None, DEFAULT_HEARTBEAT, None)?
            .context();
        *place = Some((child.id(), user));
        Ok(child.id())
    }
}
