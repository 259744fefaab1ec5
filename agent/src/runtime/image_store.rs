//! The images that this node can send to children: its own, and those for other platforms that it
//! was given or has fetched.

use offshoot_bootstrap::Image;
use offshoot_bootstrap::Platform;
use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_sys as sys;
use offshoot_sys::memory::{Use, sealed_memfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A function of the controller that finds the image for a platform. Its error says where it
/// looked.
pub type Find = Box<dyn Fn(Platform) -> Result<Image> + Send>;

/// A function that opens the image of a program's own platform: [`open_own`]. Agents inherit the
/// descriptors and do not contain it.
type Open = fn(&Image) -> Result<OwnImage>;

/// The source of images.
pub struct Images {
    known: Vec<Image>,
    find: Option<(Find, Open)>,
    own: Option<Arc<OwnImage>>,
    /// The replies with images, kept because many nodes may ask for the same one.
    replies: Vec<(Platform, Arc<Vec<u8>>)>,
}

/// The image of this node's own platform, which can be executed without a shell.
pub struct OwnImage {
    /// The compressed image, inherited by children.
    pub image: OwnedFd,
    /// The unpacked agent.
    pub agent: OwnedFd,
}

impl Images {
    /// Returns the images of a controller, which are found at the first use.
    pub fn found(find: Find) -> Self {
        Self {
            known: Vec::new(),
            find: Some((find, open_own)),
            own: None,
            replies: Vec::new(),
        }
    }

    /// Returns the images of an agent, which it has inherited.
    pub fn inherited(image: OwnedFd, agent: OwnedFd) -> Self {
        Self {
            known: Vec::new(),
            find: None,
            own: Some(Arc::new(OwnImage { image, agent })),
            replies: Vec::new(),
        }
    }

    /// Returns true in a controller, which finds images, and false in an agent.
    pub fn are_found(&self) -> bool {
        self.find.is_some()
    }

    /// Keeps an image that was fetched from the root.
    pub fn keep(&mut self, image: Image) {
        self.known.push(image);
    }

    /// Returns the image for a platform; none if it has to be fetched from the root.
    ///
    /// # Errors
    /// Returns an error if a controller finds none, or if an agent's own image is damaged.
    pub fn get(&mut self, platform: Platform) -> Result<Option<Image>> {
        if let Some(image) = self.known.iter().find(|image| image.hosts() == platform) {
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

    /// Returns the reply to a request for an image.
    ///
    /// # Errors
    /// Returns an error if there is none.
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

    /// Returns this node's own image as open descriptors, opened at the first use.
    ///
    /// # Errors
    /// Returns an error if there is no image, or if the kernel refuses executable memory files. A
    /// bootstrap through a shell may still work then.
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

/// The origin of the agents that a tree sends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum AgentSource {
    /// The stock agent, which has none of the program's functions.
    Stock = 0,
    /// The stock agent, after the program was warned that its functions are missing.
    StockAndTold = 1,
    /// An agent with the program's functions.
    Own = 2,
}
