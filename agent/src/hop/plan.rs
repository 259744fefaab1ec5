//! A hop that is only described: what it would execute, without executing it.

use crate::hop::Hop;
use crate::hop::child::bootstrap::title_of;
use crate::hop::method::traits::Method;
use crate::hop::method::words;
use offshoot_bootstrap::{Mode, Nonce, Platform};
use offshoot_proto::connect::recipe::{Attach, Recipe};
use offshoot_proto::{Error, Result};

/// The description of a hop that was not started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The last part of the new context's name.
    pub name: String,
    /// The hop as data: time limit, questions, form of the bootstrap.
    pub recipe: Recipe,
    /// The program and its arguments, the last of which is the bootstrap. `None` if the agent is
    /// executed directly, without any shell.
    pub words: Option<Vec<String>>,
    /// The title that `ps` shows.
    pub title: String,
    /// The platform whose image is sent first: that of this machine, until another one is known.
    pub machine: &'static str,
    /// The length of the image in bytes.
    pub image_bytes: usize,
    /// The seconds between heartbeats on the link; 0 for none.
    pub heartbeat: u32,
}

impl<M: Method> Hop<M> {
    /// Returns what [`start`](Hop::start) would do, and starts nothing: no program runs, and
    /// nothing is sent. A real hop has a random number where this has sixteen zeros, and later
    /// attempts may differ, for instance for another platform.
    ///
    /// A password is in no word. It is in [`Recipe::rules`], if one was set.
    ///
    /// ```no_run
    /// # fn example(router: &offshoot_agent::Router) -> offshoot_agent::Result<()> {
    /// let plan = router.ssh("web1").user("deploy").plan()?;
    /// println!("{} {:?}", plan.name, plan.words);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if a setting is invalid, or if there is no image for this machine.
    pub fn plan(&self) -> Result<Plan> {
        let nonce = Nonce::new([0; 8]);
        let (name, recipe) = self.describe(nonce.as_str())?;
        let full_name = self.parent.name_below(&name);
        recipe.check(&full_name, self.title.as_deref())?;
        let platform = Platform::host().unwrap_or(Platform::X86_64);
        let image = self.parent.node().lock().images.get(platform)?;
        let image = image.ok_or_else(|| Error::Image(format!("no image for {platform}")))?;
        let title = title_of(self.title.as_deref().unwrap_or(&full_name));
        let words = (recipe.attach != Attach::Direct)
            .then(|| words(&recipe, &image, &nonce, Mode::Optimistic, &title));
        Ok(Plan {
            name,
            words,
            title: offshoot_bootstrap::clean_title(&title),
            machine: platform.machine(),
            image_bytes: image.bytes().len(),
            heartbeat: self.heartbeat,
            recipe,
        })
    }
}
