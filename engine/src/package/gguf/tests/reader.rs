//! A file by the reference writer, read whole and in parts.

use super::*;
use crate::package::gguf::{Gguf, Kind, Value};

#[test]
fn metadata_of_every_type_is_read() {
    let gguf = Gguf::parse("whole", WHOLE).unwrap();
    assert_eq!(gguf.version(), 3);
    let expected = [
        ("t.u8", Value::Unsigned(255)),
        ("t.i8", Value::Signed(-128)),
        ("t.u16", Value::Unsigned(65535)),
        ("t.i16", Value::Signed(-32768)),
        ("t.u32", Value::Unsigned(4294967295)),
        ("t.i32", Value::Signed(-2147483648)),
        ("t.u64", Value::Unsigned(u64::MAX)),
        ("t.i64", Value::Signed(i64::MIN)),
        ("t.f32", Value::Float(0.1_f32.into())),
        ("t.f64", Value::Float(0.1)),
        ("t.bool", Value::Bool(true)),
        ("t.str", Value::Str("gr\u{fc}\u{df} \u{1f331}")),
        ("general.architecture", Value::Str("gemma-embedding")),
        ("general.alignment", Value::Unsigned(64)),
    ];
    for (key, value) in expected {
        assert_eq!(gguf.value(key), Some(value), "{key}");
    }
    let list = |key: &str| gguf.value(key).unwrap().as_array().unwrap();
    let texts: Vec<_> = list("t.strs").iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(texts, ["", "a", "\u{2581}b"]);
    let ints: Vec<_> = list("t.ints").iter().collect();
    assert_eq!(ints, [Value::Signed(1), Value::Signed(-2), Value::Signed(3)]);
    assert_eq!(list("t.floats").iter().filter_map(Value::as_f64).collect::<Vec<_>>(), [0.5, -1.5]);
    assert_eq!(
        list("t.bools").iter().filter_map(Value::as_bool).collect::<Vec<_>>(),
        [true, false]
    );
    assert_eq!(list("t.bools").kind(), Kind::Bool);
    assert_eq!(gguf.keys().count(), expected.len() + 4);
    assert_eq!(gguf.value("t.absent"), None);
}

#[test]
fn tensors_of_every_format_are_read_whole_and_row_by_row() {
    let gguf = Gguf::parse("whole", WHOLE.to_vec()).unwrap();
    let golden = golden();
    let tensors = golden["whole"].as_object().unwrap();
    assert_eq!(gguf.tensors().count(), tensors.len());
    for (name, expected) in tensors {
        let tensor = gguf.tensor(name).unwrap();
        assert_eq!(tensor.dtype.name(), expected["dtype"].as_str().unwrap());
        assert_eq!(serde_json::json!(tensor.shape), expected["shape"]);
        let expected = numbers_of_hex(&expected["numbers"]);
        let (n_rows, row_len) = (tensor.n_rows(), tensor.row_len());
        let mut whole = vec![f32::NAN; expected.len()];
        gguf.dequantise(name, 0..n_rows, &mut whole).unwrap();
        assert_eq!(bits(&whole), bits(&expected), "{name}");
        for row in 0..n_rows {
            let mut one = vec![f32::NAN; row_len];
            gguf.dequantise(name, row..row + 1, &mut one).unwrap();
            assert_eq!(bits(&one), bits(&expected[row * row_len..][..row_len]), "{name} row {row}");
        }
        gguf.dequantise(name, 1..1, &mut []).unwrap();
    }
}

#[test]
fn a_wrong_type_and_a_missing_tensor_are_named() {
    let gguf = Gguf::parse("whole", WHOLE).unwrap();
    assert_eq!(field_of(gguf.typed("t.str", "a number", Value::as_u64)), "t.str");
    assert_eq!(field_of(gguf.typed("t.i8", "a count", Value::as_u64)), "t.i8");
    assert_eq!(gguf.typed("t.u8", "a count", Value::as_u64).unwrap(), Some(255));
    assert_eq!(gguf.typed("t.none", "a count", Value::as_u64).unwrap(), None);
    assert_eq!(field_of(gguf.dequantise("tensor.99", 0..1, &mut [0.0])), "tensor.99");
}

#[test]
fn version_2_is_read_as_version_3() {
    let mut bytes = WHOLE.to_vec();
    bytes[4] = 2;
    let gguf = Gguf::parse("whole", bytes).unwrap();
    assert_eq!((gguf.version(), gguf.tensors().count()), (2, 11));
}

#[test]
fn names_go_both_ways() {
    for (ours, _) in shapes(&tiny_config()) {
        let gguf = names::to_gguf(&ours).unwrap();
        assert_eq!(names::from_gguf(&gguf).as_deref(), Some(ours.as_str()));
    }
    // As a published file has them: gate and up are of one shape, so are most norms.
    for (ours, gguf) in [
        ("embed_tokens", "token_embd"),
        ("norm", "output_norm"),
        ("layers.23.input_layernorm", "blk.23.attn_norm"),
        ("layers.23.self_attn.q_proj", "blk.23.attn_q"),
        ("layers.23.self_attn.k_proj", "blk.23.attn_k"),
        ("layers.23.self_attn.v_proj", "blk.23.attn_v"),
        ("layers.23.self_attn.q_norm", "blk.23.attn_q_norm"),
        ("layers.23.self_attn.k_norm", "blk.23.attn_k_norm"),
        ("layers.23.self_attn.o_proj", "blk.23.attn_output"),
        ("layers.23.post_attention_layernorm", "blk.23.post_attention_norm"),
        ("layers.23.pre_feedforward_layernorm", "blk.23.ffn_norm"),
        ("layers.23.mlp.gate_proj", "blk.23.ffn_gate"),
        ("layers.23.mlp.up_proj", "blk.23.ffn_up"),
        ("layers.23.mlp.down_proj", "blk.23.ffn_down"),
        ("layers.23.post_feedforward_layernorm", "blk.23.post_ffw_norm"),
    ] {
        let stored = names::to_gguf(&format!("{ours}.weight"));
        assert_eq!(stored.as_deref(), Some(&*format!("{gguf}.weight")));
    }
    assert_eq!(names::from_gguf("dense.1.weight").as_deref(), Some(names::DENSE[1]));
    for stranger in ["", "layers.3", "layers.x.mlp.up_proj.weight", "layers.03.mlp.up_proj.weight"]
    {
        assert_eq!(names::to_gguf(stranger), None);
    }
    assert_eq!(names::from_gguf("output.weight"), None);
}
