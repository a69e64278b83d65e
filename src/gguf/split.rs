//! The names of a split file's parts.

/// A name of the form `<prefix>-00001-of-00003.gguf`, as llama.cpp writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitName {
    /// All before the numbers. Not empty.
    pub prefix: String,
    /// From 1, unlike the metadata's.
    pub number: u32,
    /// Number of the parts, at least 1.
    pub count: u32,
}

// === impl SplitName ===

impl SplitName {
    /// Reads a file name without its folder; none if it has not the form.
    pub fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".gguf")?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let (number, count) = (digits(number)?, digits(count)?);
        let whole = !prefix.is_empty() && (1..=count).contains(&number);
        whole.then(|| Self {
            prefix: prefix.to_owned(),
            number,
            count,
        })
    }

    /// The name of part `number`, from 1.
    pub fn part(&self, number: u32) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.prefix, self.count)
    }
}

/// Five digits: the metadata's numbers have 16 bits.
fn digits(text: &str) -> Option<u32> {
    let five = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    five.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::SplitName;

    #[test]
    fn reads_and_writes_the_names_of_parts() {
        let name = SplitName::parse("my-of-model-00002-of-00010.gguf").unwrap();
        assert_eq!((name.prefix.as_str(), name.number, name.count), ("my-of-model", 2, 10));
        assert_eq!(name.part(2), "my-of-model-00002-of-00010.gguf");
        assert_eq!(SplitName::parse(&name.part(10)).unwrap().number, 10);
    }

    #[test]
    fn other_names_are_whole_files() {
        for name in [
            "x.gguf",
            "x-00001-of-00002.bin",
            "x-1-of-2.gguf",
            "x-000001-of-000002.gguf",
            "x-00000-of-00002.gguf",
            "x-00003-of-00002.gguf",
            "x-00001-of-00000.gguf",
            "x-+0001-of-00002.gguf",
            "-00001-of-00002.gguf",
            "x-0000١-of-00002.gguf",
            "",
        ] {
            assert_eq!(SplitName::parse(name), None, "{name}");
        }
    }
}
