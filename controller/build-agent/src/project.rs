//! The package whose agent is built.
//!
//! Only the target directory of its workspace is written to; manifests are only read.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::run::output_of;

/// A package with an agent.
#[derive(Clone)]
pub struct Project {
    /// The root of its workspace.
    pub root: PathBuf,
    /// The name of the package and of the binary that is the agent.
    pub package: String,
    /// The target directory of its workspace.
    pub target: PathBuf,
    /// Replacements for folders of this machine in the binary, so that it is the same wherever it
    /// is built. The toolchain and the home of cargo have names already.
    pub names: Vec<(PathBuf, &'static str)>,
}

impl Project {
    /// Returns the package of a manifest, or `package` of its workspace.
    ///
    /// # Errors
    /// Returns an error if the package does not exist, or has no binary of its own name.
    pub fn of(manifest: &str, package: Option<String>) -> Result<Self, String> {
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
        Ok(Self {
            names: vec![(root.clone(), "/program")],
            root,
            package,
            target,
        })
    }

    /// Returns the default folder for the images.
    pub fn images(&self) -> PathBuf {
        self.target.join("agents")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_its_manifest_and_must_contain_an_agent() {
        let folder = env::temp_dir().join(format!("offshoot-project-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let package = |name: &str, file: &str| {
            let here = folder.join(name);
            fs::create_dir_all(here.join("src")).unwrap();
            let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n");
            fs::write(here.join("Cargo.toml"), manifest).unwrap();
            fs::write(here.join("src").join(file), "").unwrap();
            here.join("Cargo.toml").display().to_string()
        };
        fs::create_dir_all(&folder).unwrap();
        let all = "[workspace]\nresolver = \"3\"\nmembers = [\"agent\", \"library\"]\n";
        fs::write(folder.join("Cargo.toml"), all).unwrap();
        let (agent, library) = (package("agent", "main.rs"), package("library", "lib.rs"));
        let found = Project::of(&agent, None).unwrap();
        let folder = fs::canonicalize(&folder).unwrap();
        assert_eq!((found.package.as_str(), &found.root), ("agent", &folder));
        assert_eq!(found.images(), found.target.join("agents"));
        let error = |package: Option<&str>| {
            let package = package.map(str::to_owned);
            Project::of(&library, package).err().unwrap()
        };
        let none = error(None);
        assert!(none.contains("library has none"), "{none}");
        let unknown = error(Some("no-such"));
        assert!(
            unknown.contains("--package") && unknown.contains("agent, library"),
            "{unknown}"
        );
        assert!(Project::of("no/such/Cargo.toml", None).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
