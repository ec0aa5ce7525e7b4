//! Writes small weights files, for tests here and in `tests/`.

#![allow(dead_code, missing_docs, reason = "each test uses a part")]

use super::ElementType;

/// A file under construction.
#[derive(Default)]
pub struct Writer {
    entries: Vec<u8>,
    entry_count: u64,
    places: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl Writer {
    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) -> &mut Self {
        push_text(&mut self.entries, key);
        self.entries.extend(kind.to_le_bytes());
        self.entries.extend(value);
        self.entry_count += 1;
        self
    }

    pub fn integer(&mut self, key: &str, value: u32) -> &mut Self {
        self.entry(key, 4, &value.to_le_bytes())
    }

    pub fn float(&mut self, key: &str, value: f32) -> &mut Self {
        self.entry(key, 6, &value.to_le_bytes())
    }

    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        let mut bytes = Vec::new();
        push_text(&mut bytes, value);
        self.entry(key, 8, &bytes)
    }

    pub fn texts(&mut self, key: &str, values: &[&str]) -> &mut Self {
        let mut bytes = 8_u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| push_text(&mut bytes, value));
        self.entry(key, 9, &bytes)
    }

    pub fn tensor(&mut self, name: &str, element_type: ElementType, dimensions: &[u64], data: &[u8]) -> &mut Self {
        push_text(&mut self.places, name);
        self.places.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|length| self.places.extend(length.to_le_bytes()));
        self.places.extend(number(element_type).to_le_bytes());
        self.places.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(data);
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.tensor_count += 1;
        self
    }

    pub fn finish(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensor_count.to_le_bytes());
        file.extend(self.entry_count.to_le_bytes());
        file.extend(&self.entries);
        file.extend(&self.places);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(&self.data);
        file
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// As the format numbers types of elements.
fn number(element_type: ElementType) -> u32 {
    match element_type {
        ElementType::F32 => 0,
        ElementType::F16 => 1,
        ElementType::Q4_0 => 2,
        ElementType::Q4_1 => 3,
        ElementType::Q5_0 => 6,
        ElementType::Q5_1 => 7,
        ElementType::Q8_0 => 8,
        ElementType::Q2K => 10,
        ElementType::Q3K => 11,
        ElementType::Q4K => 12,
        ElementType::Q5K => 13,
        ElementType::Q6K => 14,
        ElementType::Bf16 => 30,
    }
}
