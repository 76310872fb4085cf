//! What the program takes from its environment beside the flags that name a variable: read once, here only.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The variable that [`Environment::log_filter`] is taken from.
pub(super) const LOG_FILTER: &str = "THALWEG_LOG";

/// What the program takes from its environment beside the flags above.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// NO_COLOR is set and not empty: no colours at all.
    pub(crate) no_colours: bool,
    /// Where things are kept that are good to have again but no harm to lose: XDG_STATE_HOME, else ~/.local/state.
    pub(crate) state_folder: Option<PathBuf>,
    /// THALWEG_LOG: how much a broker tells, as `tracing-subscriber` understands it.
    pub(crate) log_filter: Option<String>,
    /// Everything whose name begins with THALWEG_ and that is not empty.
    settings: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the environment, once. What is empty counts as not set.
    pub(crate) fn read() -> Self {
        Self::of(std::env::vars_os())
    }

    fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let variables: BTreeMap<OsString, OsString> =
            variables.filter(|(_, value)| !value.is_empty()).collect();
        let path = |name: &str| variables.get(OsStr::new(name)).map(PathBuf::from);
        // A relative XDG path is to be ignored, says its specification.
        let state_home = path("XDG_STATE_HOME").filter(|path| path.is_absolute());
        // Bytes that are not UTF-8 become U+FFFD, which no setting takes.
        let text = |text: &OsString| text.to_string_lossy().into_owned();
        let settings = variables.iter().map(|(name, value)| (text(name), text(value)));
        Self {
            no_colours: variables.contains_key(OsStr::new("NO_COLOR")),
            state_folder: state_home.or_else(|| Some(path("HOME")?.join(".local/state"))),
            log_filter: variables.get(OsStr::new(LOG_FILTER)).map(text),
            settings: settings.filter(|(name, _)| name.starts_with("THALWEG_")).collect(),
        }
    }

    /// The names of all variables that begin with THALWEG_.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.settings.keys().map(String::as_str)
    }

    /// The value of a variable whose name begins with THALWEG_.
    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_about_colours_folders_and_settings() {
        let environment = |pairs: &[(&str, &str)]| {
            Environment::of(pairs.iter().map(|(name, value)| (name.into(), value.into())))
        };
        let home = environment(&[("HOME", "/home/ada"), ("XDG_STATE_HOME", "relative")]);
        assert!(!home.no_colours);
        assert_eq!(home.state_folder, Some(PathBuf::from("/home/ada/.local/state")));
        let xdg = environment(&[("HOME", "/h"), ("XDG_STATE_HOME", "/state"), ("NO_COLOR", "1")]);
        assert!(xdg.no_colours);
        assert_eq!(xdg.state_folder, Some(PathBuf::from("/state")));
        assert_eq!(environment(&[]).state_folder, None);
        let set =
            environment(&[("THALWEG_SHARDS", "2"), ("THALWEG_LOG", "debug"), ("NO_COLOR", "")]);
        assert_eq!(set.setting("THALWEG_SHARDS").as_deref(), Some("2"));
        assert_eq!(set.setting("THALWEG_DURABILITY"), None);
        assert_eq!(set.names().collect::<Vec<_>>(), ["THALWEG_LOG", "THALWEG_SHARDS"]);
        assert_eq!(set.log_filter.as_deref(), Some("debug"));
        assert!(!set.no_colours);
    }
}
