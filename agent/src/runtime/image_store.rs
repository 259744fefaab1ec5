//! The images this node can give to children: its own, and what it was given or has fetched for
//! other platforms.

use offshoot_bootstrap::Image;
use offshoot_bootstrap::Platform;
use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_sys as sys;
use offshoot_sys::memory::{Use, sealed_memfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Finds an image for a platform, in the controller: embedded, in a directory, or nowhere (an error
/// that says so).
pub type Find = Box<dyn Fn(Platform) -> Result<Image> + Send>;

/// Makes the open descriptors of a program's own platform: [`open_own`]; not part of an agent,
/// which has them already.
type Open = fn(&Image) -> Result<OwnImage>;

/// Where images come from.
pub struct Images {
    known: Vec<Image>,
    find: Option<(Find, Open)>,
    own: Option<Arc<OwnImage>>,
    /// Images as they are sent to those who ask; many may ask at once.
    replies: Vec<(Platform, Arc<Vec<u8>>)>,
}

/// This node's own platform, ready to be executed without any shell.
pub struct OwnImage {
    /// The compressed image, handed on to children.
    pub image: OwnedFd,
    /// The unpacked agent.
    pub agent: OwnedFd,
}

impl Images {
    /// The controller's: found when they are needed.
    pub fn found(find: Find) -> Self {
        Self {
            known: Vec::new(),
            find: Some((find, open_own)),
            own: None,
            replies: Vec::new(),
        }
    }

    /// An agent's: what it was started with.
    pub fn inherited(image: OwnedFd, agent: OwnedFd) -> Self {
        Self {
            known: Vec::new(),
            find: None,
            own: Some(Arc::new(OwnImage { image, agent })),
            replies: Vec::new(),
        }
    }

    /// Whether this is a program that finds them, and not an agent.
    pub fn are_found(&self) -> bool {
        self.find.is_some()
    }

    /// Keeps an image that was fetched from the root.
    pub fn keep(&mut self, image: Image) {
        self.known.push(image);
    }

    /// The image for a platform, or none where only the root can have it.
    ///
    /// # Errors
    /// In the controller, when there is none; in an agent, when its own is damaged.
    pub fn get(&mut self, platform: Platform) -> Result<Option<Image>> {
        if let Some(image) = self.known.iter().find(|image| image.platform() == platform) {
            return Ok(Some(image.clone()));
        }
        let image = match (&self.find, &self.own) {
            (Some((find, _)), _) => find(platform)?,
            (None, Some(own)) if Platform::host() == Some(platform) => read_image(&own.image)?,
            _ => return Ok(None),
        };
        self.known.push(image.clone());
        Ok(Some(image))
    }

    /// The answer to one that asks for an image.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn as_reply(&mut self, platform: Platform) -> Result<Arc<Vec<u8>>> {
        if let Some((_, reply)) = self.replies.iter().find(|(other, _)| *other == platform) {
            return Ok(Arc::clone(reply));
        }
        let image = self
            .get(platform)?
            .ok_or_else(|| Error::Image(format!("there are no agents for {platform}")))?;
        let reply = Arc::new(offshoot_proto::message::outcome::value(
            &image.bytes().to_vec(),
        ));
        self.replies.push((platform, Arc::clone(&reply)));
        Ok(reply)
    }

    /// This node's own image as open descriptors, made when first needed.
    ///
    /// # Errors
    /// When there is no image, or the kernel refuses executable memory files; a shell may still
    /// find a way then.
    pub fn own(&mut self) -> Result<Arc<OwnImage>> {
        if let Some(own) = &self.own {
            return Ok(Arc::clone(own));
        }
        let platform = Platform::host()
            .ok_or_else(|| Error::Image("there are no agents for this machine".into()))?;
        let image = self
            .get(platform)?
            .ok_or_else(|| Error::Image(format!("no image for {platform}")))?;
        let Some((_, open)) = &self.find else {
            return Err(Error::Image("this agent has lost its own image".into()));
        };
        let own = Arc::new(open(&image)?);
        self.own = Some(Arc::clone(&own));
        Ok(own)
    }
}

/// Unpacks an image into an executable memory file.
fn open_own(image: &Image) -> Result<OwnImage> {
    let agent = image
        .unpack()
        .map_err(|error| Error::Image(error.to_string()))?;
    let agent = sealed_memfd(c"offshoot-agent", &agent, Use::Execute)
        .map_err(|error| Error::system("making an executable memory file", error))?;
    let image = sealed_memfd(c"offshoot-image", image.bytes(), Use::Read)
        .map_err(|error| Error::system("making a memory file for the image", error))?;
    Ok(OwnImage { image, agent })
}

fn read_image(fd: &OwnedFd) -> Result<Image> {
    let bytes = sys::procfs::copy_of(fd)
        .map_err(|error| Error::system("reading this agent's own image", error))?;
    Image::parse(bytes).map_err(|error| Error::Image(format!("this agent's own image: {error}")))
}

/// Whose agent a tree sends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum AgentSource {
    /// The stock one, which has none of the program's functions.
    Stock = 0,
    /// As before, and the program was told what that means.
    StockAndTold = 1,
    /// One that was built with the program's functions.
    Own = 2,
}
