//! The package whose agent is built, in this workspace or in another that uses the library.
//!
//! Only the target directory of another workspace is written to; its manifests are only read.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::workspace::{output_of, workspace};

/// The package of the stock agent.
const STOCK: &str = "offshoot-agent";

/// The manifest of this workspace, which has the profile of all agents.
const MANIFEST: &str = include_str!("../../../Cargo.toml");

/// A package with an agent.
pub(super) struct Project {
    /// The root of its workspace.
    pub root: PathBuf,
    /// The name of the package and of the binary that is the agent.
    pub package: String,
    /// The target directory of its workspace.
    pub target: PathBuf,
    outside: bool,
}

impl Project {
    /// Returns `package` of this workspace, by default that of the stock agent.
    pub(super) fn inside(package: Option<String>) -> Self {
        let root = workspace();
        let target = root.join("target");
        Self {
            root,
            package: package.unwrap_or_else(|| STOCK.into()),
            target,
            outside: false,
        }
    }

    /// Returns the package of a manifest, or `package` of its workspace.
    ///
    /// # Errors
    /// Returns an error if the package does not exist, or has no binary of its own name.
    pub(super) fn of(manifest: &str, package: Option<String>) -> Result<Self, String> {
        let manifest =
            fs::canonicalize(manifest).map_err(|error| format!("{manifest}: {error}"))?;
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args([
                "metadata",
                "--no-deps",
                "--format-version",
                "1",
                "--manifest-path",
            ])
            .arg(&manifest);
        cargo.current_dir(manifest.parent().unwrap_or(Path::new("/")));
        let metadata: Value = serde_json::from_str(&output_of(&mut cargo)?)
            .map_err(|error| format!("cargo metadata: {error}"))?;
        let packages = metadata["packages"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let found = match (&package, packages) {
            (Some(name), _) => packages.iter().find(|found| found["name"] == name.as_str()),
            (None, [only]) => Some(only),
            (None, _) => packages.iter().find(|found| {
                found["manifest_path"].as_str().map(Path::new) == Some(manifest.as_path())
            }),
        };
        let names = |list: &[Value]| -> String {
            let names: Vec<_> = list
                .iter()
                .filter_map(|item| item["name"].as_str())
                .collect();
            if names.is_empty() {
                "none".into()
            } else {
                names.join(", ")
            }
        };
        let found = found.ok_or_else(|| {
            let packages = names(packages);
            format!(
                "{}: choose a package with --package: {packages}",
                manifest.display()
            )
        })?;
        let package = found["name"].as_str().unwrap_or_default().to_owned();
        let targets = found["targets"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let binaries: Vec<Value> = targets
            .iter()
            .filter(|target| target["kind"][0] == "bin")
            .cloned()
            .collect();
        if !binaries
            .iter()
            .any(|binary| binary["name"] == package.as_str())
        {
            let binaries = names(&binaries);
            return Err(format!(
                "the agent of a package is its binary of the same name, and {package} has none (its binaries: {binaries}); \
                 add a src/main.rs that calls `offshoot::agent_main()`, or begins with `offshoot::init()`"
            ));
        }
        let path = |key: &str| PathBuf::from(metadata[key].as_str().unwrap_or_default());
        let (root, target) = (path("workspace_root"), path("target_directory"));
        if root == workspace() {
            return Ok(Self::inside(Some(package)));
        }
        Ok(Self {
            root,
            package,
            target,
            outside: true,
        })
    }

    /// Returns the same package in a copy of this workspace.
    pub(super) fn copied_to(&self, root: &Path) -> Self {
        let (package, target) = (self.package.clone(), root.join("target"));
        Self {
            root: root.into(),
            package,
            target,
            outside: self.outside,
        }
    }

    /// Returns true if the package is in another workspace.
    pub(super) fn is_outside(&self) -> bool {
        self.outside
    }

    /// Returns true if this is the stock agent.
    pub(super) fn is_stock(&self) -> bool {
        !self.outside && self.package == STOCK
    }

    /// Returns the default folder for the images.
    pub(super) fn images(&self) -> PathBuf {
        self.target.join("agents")
    }

    /// Returns the profile of the agents as values of `--config`; empty in this workspace, whose
    /// manifest has the profile.
    pub(super) fn profile(&self) -> Vec<String> {
        if self.outside {
            settings(MANIFEST, "profile.agent")
        } else {
            Vec::new()
        }
    }
}

/// Returns the settings of a table of a manifest and of the tables below it.
fn settings(manifest: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut table = "";
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
        } else if (table == name || table.starts_with(&format!("{name}.")))
            && let Some((key, value)) = line.split_once('=')
            && !line.starts_with('#')
        {
            found.push(format!("{table}.{}={}", key.trim(), value.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_profile_is_read_from_the_manifest() {
        let found = settings(MANIFEST, "profile.agent");
        assert!(
            found.contains(&"profile.agent.inherits=\"release\"".to_owned()),
            "{found:?}"
        );
        assert!(
            found
                .iter()
                .all(|setting| setting.starts_with("profile.agent.")),
            "{found:?}"
        );
        let text = "[profile.a]\nx = 1\n# y = 2\n[profile.a.package.b]\nz=3\n[profile.ab]\nx = 4\n";
        assert_eq!(
            settings(text, "profile.a"),
            ["profile.a.x=1", "profile.a.package.b.z=3"]
        );
    }

    #[test]
    fn a_package_is_found_by_its_manifest_and_must_contain_an_agent() {
        let manifest = |folder: &str| {
            workspace()
                .join(folder)
                .join("Cargo.toml")
                .display()
                .to_string()
        };
        let own = Project::of(&manifest("tests/agent"), None).unwrap();
        assert_eq!(
            (own.package.as_str(), own.is_outside()),
            ("offshoot-test-agent", false)
        );
        let outside =
            Project::of(&manifest("controller/examples/projects/own-agent"), None).unwrap();
        assert!(outside.is_outside() && !outside.is_stock() && outside.package == "own-agent");
        assert_eq!(outside.images(), outside.root.join("target/agents"));
        let error = Project::of(&manifest("bootstrap"), None).err().unwrap();
        assert!(error.contains("offshoot-bootstrap has none"), "{error}");
        let error = Project::of(&manifest("bootstrap"), Some("no-such".into()))
            .err()
            .unwrap();
        assert!(
            error.contains("--package") && error.contains("offshoot-agent"),
            "{error}"
        );
        assert!(Project::of("no/such/Cargo.toml", None).is_err());
    }
}
