//! Metadata values, borrowed from the file.

use std::fmt;

/// The type of a metadata value, by its code in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Unsigned, 8 bits.
    U8 = 0,
    /// Signed, 8 bits.
    I8 = 1,
    /// Unsigned, 16 bits.
    U16 = 2,
    /// Signed, 16 bits.
    I16 = 3,
    /// Unsigned, 32 bits.
    U32 = 4,
    /// Signed, 32 bits.
    I32 = 5,
    /// Single precision.
    F32 = 6,
    /// One byte, 0 or 1.
    Bool = 7,
    /// A length of 64 bits, then UTF-8.
    Str = 8,
    /// An element type, a length of 64 bits, then the elements; never arrays of arrays here.
    Array = 9,
    /// Unsigned, 64 bits.
    U64 = 10,
    /// Signed, 64 bits.
    I64 = 11,
    /// Double precision.
    F64 = 12,
}

impl Kind {
    const ALL: [Kind; 13] = [
        Kind::U8,
        Kind::I8,
        Kind::U16,
        Kind::I16,
        Kind::U32,
        Kind::I32,
        Kind::F32,
        Kind::Bool,
        Kind::Str,
        Kind::Array,
        Kind::U64,
        Kind::I64,
        Kind::F64,
    ];

    pub(super) fn from_code(code: u32) -> Option<Kind> {
        Kind::ALL.get(code as usize).copied()
    }

    /// The size of one value, or `None` where it varies.
    pub(super) fn fixed_bytes(self) -> Option<usize> {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => Some(1),
            Kind::U16 | Kind::I16 => Some(2),
            Kind::U32 | Kind::I32 | Kind::F32 => Some(4),
            Kind::U64 | Kind::I64 | Kind::F64 => Some(8),
            Kind::Str | Kind::Array => None,
        }
    }
}

/// One metadata value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A floating-point number of either width.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Str(&'a str),
    /// A list.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// As a count or an id, if it is a whole number that is not negative.
    pub fn as_u64(self) -> Option<u64> {
        match self {
            Value::Unsigned(x) => Some(x),
            Value::Signed(x) => u64::try_from(x).ok(),
            _ => None,
        }
    }

    /// As a number, if it is one.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Value::Unsigned(x) => Some(x as f64),
            Value::Signed(x) => Some(x as f64),
            Value::Float(x) => Some(x),
            _ => None,
        }
    }

    /// As a yes or no, if it is one.
    pub fn as_bool(self) -> Option<bool> {
        if let Value::Bool(x) = self { Some(x) } else { None }
    }

    /// As a text, if it is one.
    pub fn as_str(self) -> Option<&'a str> {
        if let Value::Str(x) = self { Some(x) } else { None }
    }

    /// As a list, if it is one.
    pub fn as_array(self) -> Option<Array<'a>> {
        if let Value::Array(x) = self { Some(x) } else { None }
    }

    /// Decodes the value of `kind` at the start of `bytes`, with what follows it; `None` if the
    /// bytes end too early or a text is not UTF-8.
    pub(super) fn decode(kind: Kind, bytes: &'a [u8]) -> Option<(Value<'a>, &'a [u8])> {
        if let Some(size) = kind.fixed_bytes() {
            let (value, rest) = bytes.split_at_checked(size)?;
            let mut wide = [0; 8];
            wide.get_mut(..size)?.copy_from_slice(value);
            return Some((number(kind, wide), rest));
        }
        match kind {
            Kind::Str => {
                let (text, rest) = decode_str(bytes)?;
                Some((Value::Str(text), rest))
            }
            _ => {
                let (head, rest) = bytes.split_first_chunk::<4>()?;
                let (len, rest) = rest.split_first_chunk::<8>()?;
                let kind = Kind::from_code(u32::from_le_bytes(*head))?;
                let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
                let size = match kind.fixed_bytes() {
                    Some(size) => size.checked_mul(len)?,
                    None => rest.len(),
                };
                let (elements, rest) = rest.split_at_checked(size)?;
                Some((Value::Array(Array { kind, len, bytes: elements }), rest))
            }
        }
    }
}

fn decode_str(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    let (text, rest) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// `wide`: the value's bytes, little-endian, then zeros.
fn number(kind: Kind, wide: [u8; 8]) -> Value<'static> {
    let bits = u64::from_le_bytes(wide);
    match kind {
        Kind::I8 => Value::Signed((bits as i8).into()),
        Kind::I16 => Value::Signed((bits as i16).into()),
        Kind::I32 => Value::Signed((bits as i32).into()),
        Kind::I64 => Value::Signed(bits as i64),
        Kind::F32 => Value::Float(f32::from_bits(bits as u32).into()),
        Kind::F64 => Value::Float(f64::from_bits(bits)),
        Kind::Bool => Value::Bool(bits != 0),
        _ => Value::Unsigned(bits),
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unsigned(x) => write!(f, "{x}"),
            Value::Signed(x) => write!(f, "{x}"),
            Value::Float(x) => write!(f, "{x:e}"),
            Value::Bool(x) => write!(f, "{x}"),
            // A hostile text must not flood a message.
            Value::Str(x) if x.len() > 64 => write!(f, "a text of {} bytes", x.len()),
            Value::Str(x) => write!(f, "{x:?}"),
            Value::Array(x) => write!(f, "a list of {} {:?}", x.len, x.kind),
        }
    }
}

/// A list of values of one type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    kind: Kind,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// The type of the elements.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let Array { kind, len, mut bytes } = *self;
        // Decoding was tried when the file was parsed, so it does not end early.
        (0..len).map_while(move |_| {
            let (value, rest) = Value::decode(kind, bytes)?;
            bytes = rest;
            Some(value)
        })
    }
}
