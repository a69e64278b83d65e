//! All about one model of the store, out of its manifest, its small layers and the header of its model file.

use serde_json::{Map, Number, Value, json};

use super::store::{
    Store, layout,
    manifest::{Kind as LayerKind, Layer, Manifest},
};
use crate::{
    backend::{Error, Kind},
    gguf::{self, Header},
    model::{Details, ModelName, TensorInfo},
};

/// Bytes of a small layer that are read.
const MAX_TEXT: u64 = 1 << 20;
/// Bytes of all small layers; what comes after is named as left out.
const MAX_TEXTS: u64 = 8 << 20;
/// Integers beyond this lose digits in JSON's numbers.
const MAX_SAFE: u64 = 1 << 53;

/// None when there is no such model, or it is not whole.
pub(super) fn show(store: &Store, name: &ModelName, verbose: bool) -> Result<Option<Details>, Error> {
    let Some(model) = store.find(name)? else {
        return Ok(None);
    };
    let Some((_, Some(manifest))) = store.present(&model.name) else {
        return Ok(None);
    };
    let mut details = Details::default();
    let mut room = MAX_TEXTS;
    let mut read = |layer: &Layer, what: &str, omitted: &mut Vec<String>| {
        if layer.size > MAX_TEXT.min(room) {
            omitted.push(what.to_owned());
            return None;
        }
        room -= layer.size;
        let bytes = layout::read_regular(&store.layout().blob(&layer.digest), MAX_TEXT).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    for layer in &manifest.layers {
        let omitted = &mut details.omitted;
        match layer.kind() {
            LayerKind::License => details.license.extend(read(layer, "license", omitted)),
            LayerKind::System => details.system = read(layer, "system", omitted).unwrap_or_default(),
            LayerKind::Template => details.template = read(layer, "template", omitted).unwrap_or_default(),
            LayerKind::Params => {
                let text = read(layer, "parameters", omitted).unwrap_or_default();
                details.parameters = serde_json::from_str(&text).unwrap_or_default();
            }
            LayerKind::Messages => {
                let text = read(layer, "messages", omitted).unwrap_or_default();
                details.messages = serde_json::from_str(&text).unwrap_or_default();
            }
            LayerKind::Model | LayerKind::Adapter | LayerKind::Projector | LayerKind::Other => {}
        }
    }
    if let Some(header) = header(store, &manifest)? {
        describe(&header, verbose, &mut details);
    }
    Ok(Some(details))
}

/// Of the model's file, when it is a GGUF.
fn header(store: &Store, manifest: &Manifest) -> Result<Option<Header>, Error> {
    let Some(layer) = manifest.of(LayerKind::Model).next() else {
        return Ok(None);
    };
    let gone = |error| Error::new(Kind::StoreUnusable, "the model's file cannot be read").because(error);
    let (file, metadata) = layout::open_regular(&store.layout().blob(&layer.digest)).map_err(gone)?;
    // Another format has no header that is read here.
    Ok(Header::read(&file, metadata.len()).ok())
}

fn describe(header: &Header, verbose: bool, details: &mut Details) {
    for entry in &header.metadata {
        if verbose && matches!(entry.value, gguf::Value::Array { .. }) {
            details.omitted.push(entry.key.clone());
        }
        details.metadata.insert(entry.key.clone(), value(&entry.value));
    }
    if verbose {
        let tensor = |tensor: &gguf::Tensor| TensorInfo {
            name: tensor.name.clone(),
            kind: tensor.kind.name().to_owned(),
            shape: tensor.shape.clone(),
        };
        details.tensors = header.tensors.iter().map(tensor).collect();
    }
    // What every engine falls back to.
    if details.template.is_empty()
        && let Some(template) = header.text("tokenizer.chat_template")
    {
        template.clone_into(&mut details.template);
    }
}

/// Arrays are not kept by the reader of headers: their kind and length are told.
fn value(value: &gguf::Value) -> Value {
    use gguf::Value as V;
    match value {
        V::U8(number) => (*number).into(),
        V::I8(number) => (*number).into(),
        V::U16(number) => (*number).into(),
        V::I16(number) => (*number).into(),
        V::U32(number) => (*number).into(),
        V::I32(number) => (*number).into(),
        V::F32(number) => float(f64::from(*number)),
        V::F64(number) => float(*number),
        V::Bool(value) => (*value).into(),
        V::String(text) => text.as_str().into(),
        V::U64(number) if *number <= MAX_SAFE => (*number).into(),
        V::U64(number) => number.to_string().into(),
        V::I64(number) if number.unsigned_abs() <= MAX_SAFE => (*number).into(),
        V::I64(number) => number.to_string().into(),
        V::Array { kind, len } => {
            let mut map = Map::new();
            map.insert("type".to_owned(), format!("{kind:?}").to_lowercase().into());
            map.insert("length".to_owned(), json!(len));
            Value::Object(map)
        }
    }
}

/// What JSON has no number for is told as text.
fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}
