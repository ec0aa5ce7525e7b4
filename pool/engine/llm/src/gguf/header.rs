//! The header: magic, version, counts, metadata, tensor places.

use super::cursor::Cursor;
use super::fault;
use super::metadata::{Metadata, Value};
use super::tensor::{DIMENSIONS_MAX, ElementType, TensorPlace};
use engine_core::EngineError;
use std::collections::BTreeMap;

/// Entries of metadata, at most.
const ENTRIES_MAX: usize = 1 << 16;
/// Tensors, at most.
const TENSORS_MAX: usize = 1 << 16;
/// Elements of one array of metadata, at most; vocabularies have up to some 300,000.
const ELEMENTS_MAX: usize = 1 << 22;
/// What tensors' data is aligned to where the file does not say.
const ALIGNMENT_DEFAULT: usize = 32;
/// The key that says it.
const ALIGNMENT_KEY: &str = "general.alignment";

/// Reads the header of the file `bytes`, and checks that each tensor lies within.
pub fn read(bytes: &[u8]) -> Result<(Metadata, BTreeMap<String, TensorPlace>), EngineError> {
    let mut cursor = Cursor::new(bytes);
    if cursor.array().ok() != Some(*b"GGUF") {
        return Err(fault("is not GGUF: it does not begin with these four letters."));
    }
    let version = cursor.u32()?;
    if !(2..=3).contains(&version) {
        return Err(fault(format!("has GGUF version {version}; known are 2 and 3, little-endian.")));
    }
    let tensor_count = cursor.count("tensors", 24, TENSORS_MAX)?;
    let entry_count = cursor.count("entries of metadata", 13, ENTRIES_MAX)?;
    let mut metadata = Metadata::default();
    for _ in 0..entry_count {
        let key = cursor.text()?;
        let value = read_value(&mut cursor)?;
        metadata.insert(key, value)?;
    }
    let tensors = read_places(&mut cursor, tensor_count, alignment(&metadata)?, bytes.len())?;
    Ok((metadata, tensors))
}

fn alignment(metadata: &Metadata) -> Result<usize, EngineError> {
    let alignment = metadata.optional_size(ALIGNMENT_KEY)?.unwrap_or(ALIGNMENT_DEFAULT);
    if alignment.is_power_of_two() && alignment <= 1 << 20 {
        return Ok(alignment);
    }
    Err(fault(format!("wants its data aligned to {alignment}, which is no power of two up to 1,048,576.")))
}

/// Kinds of values, as the format numbers them.
mod kind {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const TEXT: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

fn read_value(cursor: &mut Cursor<'_>) -> Result<Value, EngineError> {
    match cursor.u32()? {
        kind::BOOL => Ok(Value::Bool(read_bool(cursor)?)),
        kind::TEXT => Ok(Value::Text(cursor.text()?.to_owned())),
        kind::F32 => Ok(Value::Float(f64::from(f32::from_le_bytes(cursor.array()?)))),
        kind::F64 => Ok(Value::Float(f64::from_le_bytes(cursor.array()?))),
        kind::ARRAY => read_array(cursor),
        integer => Ok(Value::Integer(read_integer(cursor, integer)?)),
    }
}

fn read_array(cursor: &mut Cursor<'_>) -> Result<Value, EngineError> {
    let kind = cursor.u32()?;
    let item_bytes = match kind {
        kind::U8 | kind::I8 | kind::BOOL => 1,
        kind::U16 | kind::I16 => 2,
        kind::U32 | kind::I32 | kind::F32 => 4,
        kind::U64 | kind::I64 | kind::F64 | kind::TEXT => 8,
        _ => return Err(fault(format!("has an array of values of kind {kind}, which is not read."))),
    };
    let count = cursor.count("elements in an array", item_bytes, ELEMENTS_MAX)?;
    fn each<T>(count: usize, read: impl FnMut(usize) -> Result<T, EngineError>) -> Result<Vec<T>, EngineError> {
        (0..count).map(read).collect()
    }
    Ok(match kind {
        kind::TEXT => Value::Texts(each(count, |_| cursor.text().map(str::to_owned))?),
        kind::BOOL => Value::Bools(each(count, |_| read_bool(cursor))?),
        kind::F32 => Value::Floats(each(count, |_| Ok(f64::from(f32::from_le_bytes(cursor.array()?))))?),
        kind::F64 => Value::Floats(each(count, |_| Ok(f64::from_le_bytes(cursor.array()?)))?),
        _ => Value::Integers(each(count, |_| read_integer(cursor, kind))?),
    })
}

fn read_bool(cursor: &mut Cursor<'_>) -> Result<bool, EngineError> {
    match cursor.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(fault(format!("has {other} where true or false is due."))),
    }
}

fn read_integer(cursor: &mut Cursor<'_>, kind: u32) -> Result<i128, EngineError> {
    Ok(match kind {
        kind::U8 => u8::from_le_bytes(cursor.array()?).into(),
        kind::I8 => i8::from_le_bytes(cursor.array()?).into(),
        kind::U16 => u16::from_le_bytes(cursor.array()?).into(),
        kind::I16 => i16::from_le_bytes(cursor.array()?).into(),
        kind::U32 => u32::from_le_bytes(cursor.array()?).into(),
        kind::I32 => i32::from_le_bytes(cursor.array()?).into(),
        kind::U64 => u64::from_le_bytes(cursor.array()?).into(),
        kind::I64 => i64::from_le_bytes(cursor.array()?).into(),
        _ => return Err(fault(format!("has a value of kind {kind}, which is not known."))),
    })
}

fn read_places(
    cursor: &mut Cursor<'_>,
    count: usize,
    alignment: usize,
    file_bytes: usize,
) -> Result<BTreeMap<String, TensorPlace>, EngineError> {
    let mut unplaced = Vec::with_capacity(count);
    for _ in 0..count {
        let name = cursor.text()?;
        let dimensions = read_dimensions(cursor, name)?;
        let element_type = ElementType::from_number(cursor.u32()?, name)?;
        unplaced.push((name, dimensions, element_type, cursor.u64()?));
    }
    let data_start = cursor.position().next_multiple_of(alignment);
    let mut places = BTreeMap::new();
    for (name, dimensions, element_type, offset) in unplaced {
        let place = TensorPlace::new(name, dimensions, element_type, data_start, offset, file_bytes)?;
        if places.insert(name.to_owned(), place).is_some() {
            return Err(fault(format!("has two tensors \"{name}\".")));
        }
    }
    Ok(places)
}

fn read_dimensions(cursor: &mut Cursor<'_>, name: &str) -> Result<Vec<usize>, EngineError> {
    let count = cursor.u32()? as usize;
    if !(1..=DIMENSIONS_MAX).contains(&count) {
        return Err(fault(format!("has a tensor \"{name}\" of {count} dimensions.")));
    }
    let length = |cursor: &mut Cursor<'_>| {
        let length = cursor.u64()?;
        usize::try_from(length).map_err(|_| fault(format!("has a tensor \"{name}\" of length {length}.")))
    };
    (0..count).map(|_| length(cursor)).collect()
}
