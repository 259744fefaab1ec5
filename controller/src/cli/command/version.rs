//! `offshoot version`: this version, its build, and the stock images that it sends.

use super::contract::Command;
use crate::cli::ui::page::print;
use clap::Args;
use offshoot_build_agent::sha256;
use serde_json::json;

const ABOUT: &str = "\
Print the version, the number of the build, and each stock image that would be sent, with its
SHA-256: for those who allow programs by their sums. Agents and programs of different builds refuse
each other.";

/// Print the version, the build and the stock images
#[derive(Args, Debug)]
#[command(long_about = ABOUT)]
pub(super) struct Version {
    /// Print one JSON object: version, build, images with target, size, sha256, place
    #[arg(long)]
    json: bool,
}

impl Command for Version {
    const NAME: &str = "version";

    fn run(self) -> ! {
        let (version, build) = (
            env!("CARGO_PKG_VERSION"),
            format!("{:016x}", offshoot::BUILD),
        );
        let found = offshoot::stock_images();
        let images = found.as_deref().unwrap_or_default();
        let text = if self.json {
            let images: Vec<_> = images
                .iter()
                .map(|image| {
                    let (size, sum) = (image.bytes.len(), sha256(&image.bytes));
                    json!({ "target": image.target, "size": size, "sha256": sum, "place": image.place })
                })
                .collect();
            json!({ "version": version, "build": build, "images": images }).to_string()
        } else {
            let mut text = format!("offshoot {version}, build {build}");
            for image in images {
                let (size, sum) = (image.bytes.len(), sha256(&image.bytes));
                text.push_str(&format!(
                    "\n{}: {size} bytes, {}\n  sha256 {sum}",
                    image.target, image.place
                ));
            }
            if let Err(error) = &found {
                text.push_str(&format!("\n{error}"));
            }
            text
        };
        print(&text)
    }
}
