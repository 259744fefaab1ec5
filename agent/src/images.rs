//! The images this node can give to children: its own, and what it was given or has fetched for other platforms.

use crate::error::{Error, Result};
use crate::sys;
use offshoot_bootstrap::{Image, Platform};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Finds an image for a platform, in the controller: embedded, in a directory, or nowhere (an error that says so).
pub type Find = Box<dyn Fn(Platform) -> Result<Image> + Send>;

/// Where images come from.
pub struct Images {
    known: HashMap<Platform, Image>,
    find: Option<Find>,
    own: Option<Arc<Own>>,
}

/// This node's own platform, ready to be executed without any shell.
pub struct Own {
    /// The compressed image, handed on to children.
    pub image: OwnedFd,
    /// The unpacked agent.
    pub agent: OwnedFd,
}

impl Images {
    /// The controller's: found when they are needed.
    pub fn found(find: Find) -> Images {
        Images { known: HashMap::new(), find: Some(find), own: None }
    }

    /// An agent's: what it was started with.
    pub fn inherited(image: OwnedFd, agent: OwnedFd) -> Images {
        Images { known: HashMap::new(), find: None, own: Some(Arc::new(Own { image, agent })) }
    }

    /// Keeps an image that was fetched from the root.
    pub fn keep(&mut self, image: Image) {
        self.known.insert(image.platform(), image);
    }

    /// The image for a platform, or none where only the root can have it.
    ///
    /// # Errors
    /// In the controller, when there is none; in an agent, when its own is damaged.
    pub fn get(&mut self, platform: Platform) -> Result<Option<Image>> {
        if let Some(image) = self.known.get(&platform) {
            return Ok(Some(image.clone()));
        }
        let image = match (&self.find, &self.own) {
            (Some(find), _) => find(platform)?,
            (None, Some(own)) if Platform::host() == Some(platform) => read_image(&own.image)?,
            _ => return Ok(None),
        };
        self.known.insert(platform, image.clone());
        Ok(Some(image))
    }

    /// This node's own image as open descriptors, made when first needed.
    ///
    /// # Errors
    /// When there is no image, or the kernel refuses executable memory files; a shell may still find a way then.
    pub fn own(&mut self) -> Result<Arc<Own>> {
        if let Some(own) = &self.own {
            return Ok(Arc::clone(own));
        }
        let platform = Platform::host().ok_or_else(|| Error::Image("there are no agents for this machine".into()))?;
        let image = self.get(platform)?.ok_or_else(|| Error::Image(format!("no image for {platform}")))?;
        let agent = image.unpack().map_err(|error| Error::Image(error.to_string()))?;
        let agent = sys::executable_memfd(c"offshoot-agent", &agent)
            .map_err(|error| Error::system("making an executable memory file", error))?;
        let own = Arc::new(Own { image: sealed_copy(image.bytes())?, agent });
        self.own = Some(Arc::clone(&own));
        Ok(own)
    }
}

fn sealed_copy(bytes: &[u8]) -> Result<OwnedFd> {
    let failed = |error: &dyn std::fmt::Display| Error::system("making a memory file for the image", error);
    let options = memfd::MemfdOptions::default().allow_sealing(true).close_on_exec(true);
    let file = options.create("offshoot-image").map_err(|error| failed(&error))?;
    std::io::Write::write_all(&mut file.as_file(), bytes).map_err(|error| failed(&error))?;
    let seals = [memfd::FileSeal::SealShrink, memfd::FileSeal::SealGrow, memfd::FileSeal::SealWrite, memfd::FileSeal::SealSeal];
    file.add_seals(&seals).map_err(|error| failed(&error))?;
    Ok(file.into_file().into())
}

fn read_image(fd: &OwnedFd) -> Result<Image> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::from(fd.try_clone()?);
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| Error::system("reading this agent's own image", error))?;
    Image::parse(bytes).map_err(|error| Error::Image(format!("this agent's own image: {error}")))
}
