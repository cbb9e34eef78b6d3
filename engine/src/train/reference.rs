//! Values that PyTorch and numpy computed: `tests/reference/training.json`, made by the script beside it.

use serde_json::Value;

pub(super) fn value(name: &str) -> Value {
    let json = include_str!("../../../tests/reference/training.json");
    let all: Value = serde_json::from_str(json).unwrap();
    all[name].clone()
}

pub(super) fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

pub(super) fn wholes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
}
