//! Names of the parts of a split GGUF: `<prefix>-00001-of-00003.gguf`, as llama.cpp writes and looks for them.

/// A part's place in its model, by its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    prefix: &'a str,
    /// From 1.
    pub(super) number: u32,
    /// At least 1.
    pub(super) count: u32,
}

// === impl Part ===

impl<'a> Part<'a> {
    /// None when the name is not a part's.
    pub(super) fn of(file_name: &'a str) -> Option<Self> {
        let stem = file_name.strip_suffix(".gguf")?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let (number, count) = (five_digits(number)?, five_digits(count)?);
        (1..=count).contains(&number).then_some(Self { prefix, number, count })
    }

    /// The file name of another part of the same model.
    pub(super) fn name(self, number: u32) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.prefix, self.count)
    }

    /// Whether both are of one model.
    pub(super) fn belongs_with(self, other: Self) -> bool {
        self.prefix == other.prefix && self.count == other.count
    }
}

fn five_digits(text: &str) -> Option<u32> {
    (text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_their_names() {
        let part = Part::of("a-b-00002-of-00010.gguf").unwrap();
        assert_eq!((part.prefix, part.number, part.count), ("a-b", 2, 10));
        assert_eq!(part.name(10), "a-b-00010-of-00010.gguf");
        assert!(part.belongs_with(Part::of("a-b-00010-of-00010.gguf").unwrap()));
        assert!(!part.belongs_with(Part::of("a-c-00002-of-00010.gguf").unwrap()));
        assert!(!part.belongs_with(Part::of("a-b-00002-of-00009.gguf").unwrap()));
        for no_part in [
            "model.gguf",
            "m-1-of-2.gguf",
            "m-00001-of-00000.gguf",
            "m-00003-of-00002.gguf",
            "m-00000-of-00002.gguf",
            "m-000001-of-00002.gguf",
            "m-+0001-of-00002.gguf",
            "m-00001-of-00002.safetensors",
            "00001-of-00002.gguf",
        ] {
            assert_eq!(Part::of(no_part), None, "{no_part}");
        }
    }
}
