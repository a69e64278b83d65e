//! Any bytes are a GGUF file or are refused; what is read lies within the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model_control::gguf::{Header, merge};

fuzz_target!(|bytes: &[u8]| {
    let size = bytes.len() as u64;
    match Header::read(bytes, size) {
        Ok(header) => {
            assert!(
                header
                    .tensors
                    .iter()
                    .all(|tensor| header.data_offset + tensor.offset + tensor.size <= size)
            );
            assert!(
                header
                    .metadata
                    .iter()
                    .all(|entry| entry.span.start < entry.span.end && entry.span.end <= size)
            );
            let _ = (
                header.kind(),
                header.split(),
                header.file_type(),
                header.parameter_count(),
            );
            if let Ok(merged) = merge::plan(&[header.clone(), header]) {
                assert!(merged.size > 0);
            }
        }
        Err(error) => assert!(error.to_string().len() < 2048),
    }
});
