//! Names that Ollama takes. It checks them as paths of its own language only, and stores them on whatever system it runs, so
//! what its check lets through is made harmless here.

const GGUF: &str = ".gguf";

/// Whether a name is a path as Ollama wants it: relative, with `/`, without `.`, `..` and empty parts. Stricter: nothing that
/// a system reads as more than a name.
pub(super) fn is_valid(name: &str) -> bool {
    name.split('/')
        .all(|part| !matches!(part, "" | "." | "..") && !part.contains(is_odd))
}

/// One part of a path that every system can hold.
pub(super) fn plain(name: &str) -> String {
    name.chars()
        .map(|c| if c == '/' || is_odd(c) { '_' } else { c })
        .collect()
}

/// The name of a GGUF, by whose ending Ollama knows it.
pub(super) fn gguf(file_name: &str) -> String {
    let name = plain(file_name);
    match ending(&name, GGUF) {
        Some(stem) => format!("{stem}{GGUF}"),
        None => format!("{name}{GGUF}"),
    }
}

/// With its ending in the case that Ollama knows.
pub(super) fn safetensors(name: &str) -> String {
    const SAFETENSORS: &str = ".safetensors";
    match ending(name, SAFETENSORS) {
        Some(stem) => format!("{stem}{SAFETENSORS}"),
        None => name.to_owned(),
    }
}

/// What stands before this ending, in whatever case it is written.
fn ending<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    let (stem, rest) = name.split_at_checked(name.len().checked_sub(ending.len())?)?;
    rest.eq_ignore_ascii_case(ending).then_some(stem)
}

fn is_odd(character: char) -> bool {
    character.is_control() || matches!(character, '\\' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_ollama_takes() {
        for (name, sent) in [
            ("m.gguf", "m.gguf"),
            ("M.GGUF", "M.gguf"),
            ("sha256-00", "sha256-00.gguf"),
            ("a b ü.bin", "a b ü.bin.gguf"),
            ("C:\\x\u{7}.gguf", "C__x_.gguf"),
            ("..", "...gguf"),
            ("", ".gguf"),
            ("ü", "ü.gguf"),
        ] {
            assert_eq!(gguf(name), sent);
            assert!(is_valid(&gguf(name)));
        }
        assert_eq!(safetensors("a/W.SafeTensors"), "a/W.safetensors");
        assert_eq!(safetensors("x"), "x");
        for bad in [
            "", ".", "..", "/a", "a/", "a//b", "a/../b", "./a", "a\\b", "C:x", "a\0b",
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
        assert!(is_valid("sub/config.json"));
    }
}
