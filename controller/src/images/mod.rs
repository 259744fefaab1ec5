//! The search for the images of agents: given by the program, the program itself, in a folder, or
//! embedded in the program.

mod self_image;
mod trusted_file;

use offshoot_agent::images::Find;
use offshoot_agent::macro_support::linkme;
use offshoot_agent::{Error, FINDERS, Search};
use offshoot_bootstrap::{Image, Platform, names};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trusted_file::{Owners, Refused, built_in};

/// The stock images in this program, each with its Rust target.
#[cfg(feature = "stock-images")]
use offshoot_images::IMAGES as EMBEDDED;
#[cfg(not(feature = "stock-images"))]
const EMBEDDED: &[(&str, &[u8])] = &[];

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
        let image = self_image::image(EMBEDDED, |platform| {
            find(search.folder.as_deref(), STOCK, platform).map(|(image, _)| image)
        })?;
        search.given.push(image);
    }
    Ok(Box::new(move |platform| for_hosts(&search, platform)))
};

/// Returns the image for hosts of a platform. Those that are 32-bit systems may have a 64-bit
/// kernel, and get its image if there is none of their own.
fn for_hosts(search: &Search, platform: Platform) -> Result<Image, Error> {
    given_or_found(search, platform).or_else(|error| {
        let wider = platform.wider().ok_or(error.clone())?;
        let image = given_or_found(search, wider).map_err(|_| error)?;
        Ok(image.for_hosts(platform))
    })
}

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
    if !search.given.is_empty() {
        let given: Vec<Platform> = search.given.iter().map(Image::platform).collect();
        return Err(Error::Image(format!(
            "no agent for {platform}: this program has one of its own for {} only; build one with `offshoot build-agent \
             --manifest-path ITS/Cargo.toml --target {}` and pass it to Builder::image",
            names(&given),
            platform.rust_target()
        )));
    }
    find(
        search.folder.as_deref(),
        search.package.as_deref().unwrap_or(STOCK),
        platform,
    )
    .map(|(image, _)| image)
}

/// A stock image that this program would send.
#[non_exhaustive]
pub struct StockImage {
    /// The Rust target for which its agent was built.
    pub target: &'static str,
    /// Where it was found: the path of a file, or `embedded in this program`.
    pub place: String,
    /// The image.
    pub bytes: Arc<[u8]>,
}

/// Returns the stock image for each platform for which one is found, in the order in which a router
/// without settings searches.
///
/// # Errors
/// Returns an error if no image is found at all.
pub fn stock_images() -> Result<Vec<StockImage>, Error> {
    let mut images = Vec::new();
    let mut last = None;
    for platform in Platform::ALL {
        match find(None, STOCK, platform) {
            Ok((image, place)) => images.push(StockImage {
                target: platform.rust_target(),
                place,
                bytes: image.bytes().clone(),
            }),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if images.is_empty() => Err(error),
        _ => Ok(images),
    }
}

/// Finds the image of a package's agent for a platform, and where it is. With a given folder it
/// looks only there. Otherwise it looks in the folder of `OFFSHOOT_AGENTS`, then, for a program
/// that cargo built, in `target/agents`, and then in this program. Only files that no other user
/// can have written are read.
fn find(given: Option<&Path>, package: &str, platform: Platform) -> Result<(Image, String), Error> {
    let program = std::env::current_exe().unwrap_or_default();
    let owners = Owners::of(&program);
    let read = |file: &Path| -> Result<_, Error> {
        Ok(read(owners, file)?.map(|image| (image, file.display().to_string())))
    };
    let absent = |tried: &[&Path], elsewhere: &str| {
        let is_there = |other: &Platform| *other != platform && is_found(given, package, *other);
        let there: Vec<_> = Platform::ALL.into_iter().filter(is_there).collect();
        Error::Image(missing(package, platform, &there, tried, elsewhere))
    };
    if let Some(folder) = given {
        let file = file_in(folder, package, platform);
        return read(&file)?.ok_or_else(|| absent(&[&file], ""));
    }
    let named = std::env::var_os(FOLDER_VARIABLE)
        .map(|folder| file_in(Path::new(&folder), package, platform));
    if let Some(file) = &named
        && let Some(found) = read(file)?
    {
        return Ok(found);
    }
    // A folder that was named holds the build that is wanted; one embedded here would be another.
    if let Some(file) = named.as_deref().filter(|_| package == STOCK) {
        return Err(absent(&[file], ""));
    }
    let beside: Vec<PathBuf> = built_in(&program)
        .iter()
        .map(|target| file_in(&target.join("agents"), package, platform))
        .collect();
    for file in &beside {
        if let Some(found) = read(file)? {
            return Ok(found);
        }
    }
    if package == STOCK
        && let Some(bytes) = embedded(platform)
    {
        let place = "embedded in this program";
        return Ok((parse(bytes, place)?, place.to_owned()));
    }
    let tried: Vec<&Path> = named.iter().chain(&beside).map(PathBuf::as_path).collect();
    let elsewhere = match (package == STOCK, !beside.is_empty()) {
        (true, true) => "and none in the program",
        (true, false) => "none in the program, and cargo did not build the program in its folder",
        (false, true) => "",
        (false, false) => {
            "and cargo did not build the program in its folder, where a folder `agents` would be searched"
        }
    };
    Err(absent(&tried, elsewhere))
}

/// Returns true if there is a file with the image of a package's agent where [`find`] looks first,
/// or an image in this program.
fn is_found(given: Option<&Path>, package: &str, platform: Platform) -> bool {
    let named = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    match given.or(named.as_deref()) {
        Some(folder) => file_in(folder, package, platform).exists(),
        None => {
            let program = std::env::current_exe().unwrap_or_default();
            let built = built_in(&program);
            let mut beside = built.iter().map(|target| target.join("agents"));
            beside.any(|folder| file_in(&folder, package, platform).exists())
                || package == STOCK && embedded(platform).is_some()
        }
    }
}

/// Returns the embedded image for a platform. A program that was sent as its own image has zeros
/// in place of the images.
fn embedded(platform: Platform) -> Option<&'static [u8]> {
    let (_, bytes) = EMBEDDED
        .iter()
        .find(|(target, _)| *target == platform.rust_target())?;
    // The compiler knows what was embedded, and not what runs.
    (std::hint::black_box(*bytes).first()? != &0).then_some(bytes)
}

/// Returns the error text for an agent that is in none of the files that were tried, nor elsewhere.
fn missing(
    package: &str,
    platform: Platform,
    there: &[Platform],
    tried: &[&Path],
    elsewhere: &str,
) -> String {
    let there = match there {
        [] => String::new(),
        some => format!("there are images for {}; ", names(some)),
    };
    let tried: Vec<String> = tried
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let tried = match (tried.as_slice(), elsewhere) {
        ([], _) => String::new(),
        ([only], "") => format!("{only} does not exist"),
        (several, "") => format!("there is no {}", several.join(", nor ")),
        (several, _) => format!("there is no {}, ", several.join(", nor ")),
    };
    let way_out = if package != STOCK {
        format!(
            "build it with `offshoot build-agent --manifest-path FOLDER/Cargo.toml`, where FOLDER is that of the package {package}, \
             and set {FOLDER_VARIABLE} to the folder target/agents that this fills"
        )
    } else if cfg!(in_repository) || !Platform::STOCK.contains(&platform) {
        let build = match Platform::STOCK.contains(&platform) {
            true => String::new(),
            false => format!(" --target {platform}"),
        };
        format!(
            "build it with `cargo xtask build-agent{build}` in the repository of offshoot, and set {FOLDER_VARIABLE} to the folder \
             target/agents that this fills"
        )
    } else if std::env::var_os(FOLDER_VARIABLE).is_some() && embedded(platform).is_some() {
        format!("unset {FOLDER_VARIABLE}, and the image in this program is used")
    } else {
        "build the program with the feature `stock-images` of the crate offshoot, which is on by default".to_owned()
    };
    format!("no agent {package} for {platform}: {tried}{elsewhere}; {there}{way_out}")
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
        Ok(bytes) => parse(&bytes, &file.display().to_string()).map(Some),
        Err(Refused::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(Refused::Io(error)) => Err(Error::Image(format!("{}: {error}", file.display()))),
        Err(Refused::Others(why)) => Err(Error::Image(format!(
            "the agent's image {why}, and could have replaced it; put it in a folder that only this user or root can change, and \
             set {FOLDER_VARIABLE} to that folder"
        ))),
    }
}

fn parse(bytes: &[u8], place: &str) -> Result<Image, Error> {
    Image::parse(bytes).map_err(|error| {
        Error::Image(format!(
            "the agent's image ({place}) is damaged: {error}; build it again, the stock agent with `cargo xtask build-agent` in the repository of offshoot"
        ))
    })
}
