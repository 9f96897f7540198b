//! A stream of records that any process can compute again from its name.

/// Record `n` of the stream called `name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// `length` records: sizes from nothing to a few KiB, null keys and values, headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub name: String,
    pub length: usize,
    /// Keys repeat after so many records; 0: keys of any kind, null included.
    pub keys: usize,
}

impl Stream {
    pub fn new(name: impl Into<String>, length: usize) -> Self {
        Self { name: name.into(), length, keys: 0 }
    }

    /// For compacted topics: every record has one of `keys` keys.
    pub fn keyed(name: impl Into<String>, length: usize, keys: usize) -> Self {
        Self { name: name.into(), length, keys }
    }

    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        (0..self.length).map(|n| self.record(n))
    }

    fn record(&self, n: usize) -> Record {
        let key = match (self.keys, n % 4) {
            (0, 0) => None,
            (0, _) => Some(format!("{}-key-{n}", self.name).into_bytes()),
            (keys, _) => Some(format!("key-{}", n % keys).into_bytes()),
        };
        let value = match n % 7 {
            6 if key.is_some() => None,
            _ => Some(self.value(n)),
        };
        let headers = match n % 3 {
            2 => vec![("n".to_owned(), Some(n.to_string().into_bytes())), ("none".to_owned(), None)],
            _ => Vec::new(),
        };
        Record { key, value, headers }
    }

    /// Neither constant nor noise: codecs shrink it, but not to nothing.
    fn value(&self, n: usize) -> Vec<u8> {
        let size = [20, 100, 700, 3000][n % 4];
        let mut value = format!("{}-{n}:", self.name).into_bytes();
        let mut state = n as u64 + 1;
        while value.len() < size {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            value.push(b'a' + ((state >> 59) as u8 % 16));
        }
        value
    }
}
