//! Plan of the one file that the parts of a split one become.
//!
//! Pure: it answers which bytes follow which, and the caller copies. The first part has all metadata; its entries are copied
//! as they lie, without those about the split, so that nothing is lost that this reader does not understand. Tensors come in
//! the order of the parts and of their tables, one behind the other, as llama.cpp demands.
//!
//! Rejected: keeping the parts as they are. An Ollama store holds a model as one blob.

use super::{
    Header,
    error::shown,
    limits::{MAX_HEADER, MAX_PARTS, MAX_TENSORS, MAX_TEXT},
    parse::repeated,
};

#[cfg(test)]
mod tests;

/// Most padding that is made rather than copied, in bytes. Real parts need less than an alignment each; only tables whose
/// order differs from their data's, with a huge alignment, need more.
const MAX_PADDING: u64 = 16 * 1024 * 1024;

/// The file that the parts become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Its bytes, in order.
    pub pieces: Vec<Piece>,
    /// Its size in bytes.
    pub size: u64,
}

/// Bytes of the merged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Bytes of a part. They lie within it, as long as the file is as it was when its header was read.
    Range {
        /// Index into the parts.
        part: usize,
        /// From the start of its file.
        start: u64,
        /// Number of bytes, more than 0.
        len: u64,
    },
}

/// Why the parts do not make one file. Parts are numbered from 1, as in their names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Nothing to merge, or far too much.
    #[error("{count} parts were given; from 1 to {MAX_PARTS} are accepted")]
    Parts { count: usize },
    /// A file that is no part of any.
    #[error("part {part} has no split.no, or no split.count above 1: it is not part of a split file")]
    NotSplit { part: usize },
    /// A file of a split one with more or fewer parts.
    #[error("part {part} belongs to a split file of {stated} parts, not of {given}")]
    Count { part: usize, stated: u64, given: usize },
    /// Parts in the wrong order, or one twice.
    #[error("part {part} says it is part {stated}")]
    Number { part: usize, stated: u64 },
    /// Tensors are missing or too many.
    #[error("part {part} says that all parts have {stated} tensors; they have {found}")]
    Tensors { part: usize, stated: u64, found: u64 },
    /// A part states another alignment than the first.
    #[error("part {part} has the alignment {alignment}, the first has {first}")]
    Alignment { part: usize, alignment: u64, first: u64 },
    /// Two parts have a tensor of the same name.
    #[error("the tensor \"{name}\" is in more than one part")]
    DuplicateTensor { name: String },
    /// The merged file's header would be refused.
    #[error("the parts have too many tensors, names or gaps for one file")]
    TooLarge,
}

struct Plan {
    pieces: Vec<Piece>,
    size: u64,
    padding: u64,
}

/// Answers how all parts, in order, become one file of version 3.
pub fn plan(parts: &[Header]) -> Result<Merged, MergeError> {
    let Some(first) = parts.first().filter(|_| parts.len() <= MAX_PARTS) else {
        return Err(MergeError::Parts { count: parts.len() });
    };
    check(parts)?;
    let tensor_count = tensors(parts);
    let kept: Vec<_> = first
        .metadata
        .iter()
        .filter(|entry| !entry.key.starts_with("split."))
        .collect();

    let mut head = Vec::from(*b"GGUF");
    head.extend(3_u32.to_le_bytes());
    head.extend(tensor_count.to_le_bytes());
    head.extend((kept.len() as u64).to_le_bytes());
    let mut plan = Plan {
        pieces: Vec::new(),
        size: 0,
        padding: 0,
    };
    plan.bytes(head);
    for entry in kept {
        plan.range(0, entry.span.start, entry.span.end - entry.span.start);
    }
    plan.bytes(table(parts, first.alignment)?);
    if plan.size > MAX_HEADER {
        return Err(MergeError::TooLarge);
    }
    if tensor_count > 0 {
        plan.pad(first.alignment)?;
    }
    for (part, header) in parts.iter().enumerate() {
        plan.data(part, header, first.alignment)?;
    }
    Ok(Merged {
        pieces: plan.pieces,
        size: plan.size,
    })
}

fn check(parts: &[Header]) -> Result<(), MergeError> {
    let found = tensors(parts);
    let first = parts.first().map_or(0, |first| first.alignment);
    for (index, header) in parts.iter().enumerate() {
        let part = index + 1;
        let (Some(split), Some(number)) = (header.split(), header.unsigned("split.no")) else {
            return Err(MergeError::NotSplit { part });
        };
        if split.count != parts.len() as u64 {
            return Err(MergeError::Count {
                part,
                stated: split.count,
                given: parts.len(),
            });
        }
        if number != index as u64 {
            return Err(MergeError::Number {
                part,
                stated: number.saturating_add(1),
            });
        }
        if let Some(stated) = split.tensors.filter(|&stated| stated != found) {
            return Err(MergeError::Tensors { part, stated, found });
        }
        // Only the first part has the model's metadata, so the others mostly state none and have the default.
        let stated = header.get("general.alignment").is_some();
        if stated && header.alignment != first {
            return Err(MergeError::Alignment {
                part,
                alignment: header.alignment,
                first,
            });
        }
    }
    let all = || parts.iter().flat_map(|header| &header.tensors);
    // The merged header must pass the reader's own limits. Its other text was counted in the first part.
    let names: u64 = all().map(|tensor| tensor.name.len() as u64).sum();
    let text: u64 = parts
        .iter()
        .take(1)
        .flat_map(|header| &header.metadata)
        .map(text_of)
        .sum();
    if found > MAX_TENSORS || names + text > MAX_TEXT {
        return Err(MergeError::TooLarge);
    }
    match repeated(all(), |tensor| &tensor.name) {
        Some(tensor) => Err(MergeError::DuplicateTensor {
            name: shown(&tensor.name),
        }),
        None => Ok(()),
    }
}

fn tensors(parts: &[Header]) -> u64 {
    parts.iter().map(|header| header.tensors.len() as u64).sum()
}

fn text_of(entry: &super::Entry) -> u64 {
    (entry.key.len() + entry.value.text().map_or(0, str::len)) as u64
}

fn table(parts: &[Header], alignment: u64) -> Result<Vec<u8>, MergeError> {
    let mut out = Vec::new();
    let mut offset = 0_u64;
    for tensor in parts.iter().flat_map(|header| &header.tensors) {
        out.extend((tensor.name.len() as u64).to_le_bytes());
        out.extend(tensor.name.as_bytes());
        // At most 4, by the reader.
        out.extend(u32::try_from(tensor.shape.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(tensor.shape.iter().flat_map(|length| length.to_le_bytes()));
        out.extend(tensor.kind.number().to_le_bytes());
        out.extend(offset.to_le_bytes());
        let end = offset
            .checked_add(tensor.size)
            .and_then(|end| end.checked_next_multiple_of(alignment));
        offset = end.ok_or(MergeError::TooLarge)?;
    }
    Ok(out)
}

// === impl Plan ===

impl Plan {
    fn bytes(&mut self, bytes: Vec<u8>) {
        self.size += bytes.len() as u64;
        match self.pieces.last_mut() {
            Some(Piece::Bytes(last)) => last.extend(bytes),
            _ if bytes.is_empty() => {}
            _ => self.pieces.push(Piece::Bytes(bytes)),
        }
    }

    /// Joins ranges that touch: a part whose data lies in order becomes one long copy.
    fn range(&mut self, part: usize, start: u64, len: u64) {
        self.size += len;
        match self.pieces.last_mut() {
            Some(Piece::Range {
                part: last,
                start: from,
                len: so_far,
            }) if *last == part && *from + *so_far == start => {
                *so_far += len;
            }
            _ => self.pieces.push(Piece::Range { part, start, len }),
        }
    }

    fn pad(&mut self, alignment: u64) -> Result<(), MergeError> {
        let len = self
            .size
            .checked_next_multiple_of(alignment)
            .ok_or(MergeError::TooLarge)?
            - self.size;
        self.padding += len;
        if self.padding > MAX_PADDING {
            return Err(MergeError::TooLarge);
        }
        self.bytes(vec![0; usize::try_from(len).map_err(|_| MergeError::TooLarge)?]);
        Ok(())
    }

    fn data(&mut self, part: usize, header: &Header, alignment: u64) -> Result<(), MergeError> {
        let mut rest = header.tensors.iter().peekable();
        while let Some(tensor) = rest.next() {
            let end = tensor.offset + tensor.size;
            let padded = end.checked_next_multiple_of(alignment).ok_or(MergeError::TooLarge)?;
            // The gap before the next tensor is copied with it where it has the very length that is needed. Nobody reads
            // what it holds.
            let follows = rest.peek().is_some_and(|next| next.offset == padded) && tensor.offset % alignment == 0;
            let len = if follows { padded - tensor.offset } else { tensor.size };
            self.size.checked_add(len).ok_or(MergeError::TooLarge)?;
            self.range(part, header.data_offset + tensor.offset, len);
            if !follows {
                self.pad(alignment)?;
            }
        }
        Ok(())
    }
}
