//! The search for the images of agents: given by the program, the program itself, embedded in it,
//! or in a folder.

mod self_image;
mod trusted_file;

use offshoot_agent::images::Find;
use offshoot_agent::macro_support::linkme;
use offshoot_agent::{Error, FINDERS, Search};
use offshoot_bootstrap::{Image, Platform};
use std::path::{Path, PathBuf};
use trusted_file::{Owners, Refused, built_in};

mod embedded {
    use offshoot_bootstrap::Platform;
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// The environment variable with a folder of images, laid out as `cargo xtask build-agent` leaves
/// it.
pub const FOLDER_VARIABLE: &str = "OFFSHOOT_AGENTS";

/// The name of the stock agent's package.
const STOCK: &str = "offshoot-agent";

#[linkme::distributed_slice(FINDERS)]
#[linkme(crate = offshoot_agent::macro_support::linkme)]
static FINDER: fn(Search) -> Result<Find, Error> = |mut search| {
    // Packing takes time and can fail, so it happens before the tree starts.
    if search.own {
        let image = self_image::image(|platform| find(search.folder.as_deref(), STOCK, platform))?;
        search.given.push(image);
    }
    Ok(Box::new(move |platform| given_or_found(&search, platform)))
};

/// Returns the image for a platform: one that the program gave, or else one that is found.
fn given_or_found(search: &Search, platform: Platform) -> Result<Image, Error> {
    if let Some(image) = search
        .given
        .iter()
        .find(|image| image.platform() == platform)
    {
        return Ok(image.clone());
    }
    // A stock agent would lack the functions of the program.
    if let Some(other) = search.given.first() {
        return Err(Error::Image(format!(
            "no agent for {platform}: this program has one of its own for {} only; build one with `cargo xtask build-agent \
             --manifest-path ITS/Cargo.toml --target {}` and pass it to Builder::image",
            other.platform(),
            platform.rust_target()
        )));
    }
    find(
        search.folder.as_deref(),
        search.package.as_deref().unwrap_or(STOCK),
        platform,
    )
}

/// Finds the image of a package's agent for a platform. With a given folder it looks only there.
/// Otherwise it looks in the folder of `OFFSHOOT_AGENTS`, then in this program, and for a program
/// that cargo built, in `target/agents`. Only files that no other user can have written are read.
fn find(given: Option<&Path>, package: &str, platform: Platform) -> Result<Image, Error> {
    let absent = |file: &Path| {
        Error::Image(format!(
            "no agent {package} for {platform}: {} does not exist; {}",
            file.display(),
            way_out(package)
        ))
    };
    let program = std::env::current_exe().unwrap_or_default();
    let owners = Owners::of(&program);
    let read = |file: &Path| read(owners, file);
    if let Some(folder) = given {
        let file = file_in(folder, package, platform);
        return read(&file)?.ok_or_else(|| absent(&file));
    }
    let named = std::env::var_os(FOLDER_VARIABLE)
        .map(|folder| file_in(Path::new(&folder), package, platform));
    if let Some(file) = &named
        && let Some(image) = read(file)?
    {
        return Ok(image);
    }
    // A folder that was named holds the build that is wanted; one embedded here would be another.
    if let Some(file) = named.as_deref().filter(|_| package == STOCK) {
        return Err(absent(file));
    }
    if package == STOCK
        && let Some((_, bytes)) = embedded::EMBEDDED
            .iter()
            .find(|(other, _)| *other == platform)
    {
        return parse(bytes.to_vec(), "embedded in this program");
    }
    let beside =
        built_in(&program).map(|target| file_in(&target.join("agents"), package, platform));
    if let Some(file) = &beside
        && let Some(image) = read(file)?
    {
        return Ok(image);
    }
    let tried: Vec<String> = named
        .iter()
        .chain(&beside)
        .map(|file| file.display().to_string())
        .collect();
    let tried = if tried.is_empty() {
        String::new()
    } else {
        format!("there is no {}, ", tried.join(", nor "))
    };
    let elsewhere = if beside.is_some() {
        "and none in the program"
    } else {
        "none in the program, and cargo did not build the program in its folder"
    };
    Err(Error::Image(format!(
        "no agent {package} for {platform}: {tried}{elsewhere}; {}",
        way_out(package)
    )))
}

/// Returns the advice for a missing agent.
fn way_out(package: &str) -> String {
    let whose = if package == STOCK {
        ""
    } else {
        " --manifest-path ITS/Cargo.toml"
    };
    format!(
        "build it with `cargo xtask build-agent{whose}` and set {FOLDER_VARIABLE} to the folder target/agents that this fills"
    )
}

/// Returns the path of an image in a folder of images.
fn file_in(folder: &Path, package: &str, platform: Platform) -> PathBuf {
    folder
        .join(platform.rust_target())
        .join(format!("{package}.image"))
}

/// Reads an image from a file that no other user can have written. Returns `None` if there is no
/// such file.
fn read(owners: Owners, file: &Path) -> Result<Option<Image>, Error> {
    match owners.read(file) {
        Ok(bytes) => parse(bytes, &file.display().to_string()).map(Some),
        Err(Refused::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(Refused::Io(error)) => Err(Error::Image(format!("{}: {error}", file.display()))),
        Err(Refused::Others(why)) => Err(Error::Image(format!(
            "the agent's image {why}, and could have replaced it; put it in a folder that only this user or root can change, and \
             set {FOLDER_VARIABLE} to that folder"
        ))),
    }
}

fn parse(bytes: Vec<u8>, place: &str) -> Result<Image, Error> {
    Image::parse(bytes).map_err(|error| {
        Error::Image(format!(
            "the agent's image ({place}) is damaged: {error}; build it again with `cargo xtask build-agent`"
        ))
    })
}
