//! The words of a recipe: the program of a hop and its arguments, with the bootstrap as the last.

use offshoot_bootstrap::{Image, Mode, Nonce, Stage0};
use offshoot_proto::connect::recipe::{Attach, Recipe};

/// Returns the words that a context executes for a hop, with the bootstrap for this image. They
/// need a shell, so [`Attach::Direct`] gives those that are used where the kernel refuses memory
/// files.
pub(crate) fn words(
    recipe: &Recipe,
    image: &Image,
    nonce: &Nonce,
    mode: Mode,
    title: &str,
) -> Vec<String> {
    let stage0 = Stage0::new(image, nonce, mode, title).with_prelude(&recipe.prelude);
    let mut words = recipe.argv.clone();
    if !matches!(
        recipe.attach,
        Attach::Line | Attach::PlainLine | Attach::Script
    ) {
        words.extend_from_slice(&recipe.shell);
    }
    words.push(match recipe.attach {
        Attach::GuardedWords => stage0.guarded_script(),
        Attach::Line => stage0.command(&recipe.shell.join(" ")),
        Attach::PlainLine => [&recipe.shell.join(" "), " '", &stage0.script(), "'"].concat(),
        Attach::Direct | Attach::Words | Attach::Script => stage0.script(),
    });
    words
}
