//! What is wrong with a configuration, all of it at once.

use std::{fmt, path::PathBuf};

/// Everything that is wrong. Displayed one problem a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(pub Vec<Problem>);

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the operator named it; none for flags and environment.
    pub file: Option<PathBuf>,
    /// From 1.
    pub line: Option<u64>,
    /// The backend's name, or `#2` for the second entry when it has none that can be told.
    pub entry: Option<String>,
    /// What is wrong and the way out. Never a value that may be secret.
    pub message: String,
}

// === impl Problem ===

impl Problem {
    /// A problem of a flag or of the environment.
    pub(super) fn of_flags(message: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            entry: None,
            message: message.into(),
        }
    }

    /// A problem that the file's reader places later.
    pub(super) fn at(line: u64, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::of_flags(message)
        }
    }

    /// Where it is, without the folder of the file: `configs.yaml:7 one`.
    pub fn place(&self) -> String {
        let file = self.file.as_ref().and_then(|file| file.file_name());
        let file = file.map(|file| file.to_string_lossy().into_owned());
        let line = self.line.map(|line| format!(":{line}"));
        let entry = self.entry.as_ref().map(|entry| format!(" {entry}"));
        [file, line, entry].into_iter().flatten().collect()
    }

    #[must_use]
    pub(super) fn of_entry(mut self, entry: &str) -> Self {
        self.entry = Some(entry.to_owned());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if let Some(entry) = &self.entry {
            write!(f, "entry `{entry}`: ")?;
        }
        f.write_str(&self.message)
    }
}

// === impl Errors ===

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
