//! What a model declares of a tensor, and tensors checked by it.

use contract::v1::TensorInfo;
use engine_core::{DataType, EngineError, Reason, TensorView};
use ort::value::{Outlet as Declared, TensorElementType, ValueType};

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlet {
    /// Its name in the graph.
    pub name: String,
    /// Type of the elements.
    pub data_type: DataType,
    /// -1: any length. Empty: a scalar, or nothing was declared.
    pub shape: Vec<i64>,
}

impl Outlet {
    /// What the model declares, where it is a tensor of a type that the protocol has.
    pub fn read(declared: &Declared) -> Result<Self, EngineError> {
        let name = declared.name().to_owned();
        let ValueType::Tensor { ty, shape, .. } = declared.dtype() else {
            return Err(unsupported(format!("\"{name}\" of the model is {}, not a tensor.", declared.dtype())));
        };
        let data_type = data_type(*ty).ok_or_else(|| {
            unsupported(format!("\"{name}\" of the model has elements of {ty}, which no request can carry."))
        })?;
        Ok(Self { name, data_type, shape: shape.iter().map(|&length| length.max(-1)).collect() })
    }

    /// The same as the contract has it.
    pub fn info(&self) -> TensorInfo {
        TensorInfo { name: self.name.clone(), datatype: self.data_type.name().to_owned(), shape: self.shape.clone() }
    }

    /// Whether batches of any size pass.
    pub fn is_batched(&self) -> bool {
        self.shape.first() == Some(&-1)
    }

    /// Refuses a tensor that is not as declared, saying in what.
    pub fn check(&self, tensor: &TensorView<'_>) -> Result<(), EngineError> {
        let name = &self.name;
        if tensor.data_type != self.data_type {
            let message =
                format!("\"{name}\" is {}; the model takes {}.", tensor.data_type.name(), self.data_type.name());
            return Err(EngineError::invalid(name, message));
        }
        let same_length = |(length, declared): (&i64, &i64)| *declared == -1 || length == declared;
        let same_rank = tensor.shape.len() == self.shape.len();
        if self.shape.is_empty() || same_rank && tensor.shape.iter().zip(&self.shape).all(same_length) {
            return Ok(());
        }
        let message = format!(
            "\"{name}\" has the shape {:?}; the model takes {:?}, where -1 is any length.",
            tensor.shape, self.shape
        );
        Err(EngineError::invalid(name, message))
    }
}

/// The tensors of a call in the order of `declared`: each is there once, and none besides.
pub fn arrange<'call, 'data>(
    declared: &[Outlet],
    tensors: &'call [TensorView<'data>],
) -> Result<Vec<&'call TensorView<'data>>, EngineError> {
    if let Some(unknown) = tensors.iter().find(|tensor| declared.iter().all(|outlet| outlet.name != tensor.name)) {
        let names: Vec<_> = declared.iter().map(|outlet| outlet.name.as_str()).collect();
        let message = format!("The model has no input \"{}\"; it has {}.", unknown.name, names.join(", "));
        return Err(EngineError::invalid(unknown.name, message));
    }
    declared.iter().map(|outlet| find(outlet, tensors)).collect()
}

fn find<'call, 'data>(
    outlet: &Outlet,
    tensors: &'call [TensorView<'data>],
) -> Result<&'call TensorView<'data>, EngineError> {
    let mut of_that_name = tensors.iter().filter(|tensor| tensor.name == outlet.name);
    let tensor = of_that_name
        .next()
        .ok_or_else(|| EngineError::invalid(&outlet.name, format!("The input \"{}\" is missing.", outlet.name)))?;
    if of_that_name.next().is_some() {
        return Err(EngineError::invalid(&outlet.name, format!("The input \"{}\" is there twice.", outlet.name)));
    }
    outlet.check(tensor)?;
    Ok(tensor)
}

/// The protocol's type for ONNX's.
pub fn data_type(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        // Complex numbers, and floats and integers of 8 bits and less that the protocol has no names for.
        _ => return None,
    })
}

fn unsupported(message: String) -> EngineError {
    EngineError::new(Reason::ModelNotReady, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlet(name: &str, shape: &[i64]) -> Outlet {
        Outlet { name: name.into(), data_type: DataType::Fp32, shape: shape.to_vec() }
    }

    #[test]
    fn errors_say_what_was_sent_and_what_is_taken() {
        let declared = [outlet("x", &[-1, 2]), outlet("y", &[])];
        let view = |name, shape, data_type| TensorView { name, data_type, shape, data: &[] };
        let y = view("y", &[], DataType::Fp32);
        let cases = [
            (vec![y], "x", "is missing"),
            (vec![view("x", &[0, 3], DataType::Fp32), y], "x", "[0, 3]; the model takes [-1, 2]"),
            (vec![view("x", &[0], DataType::Fp32), y], "x", "[0]; the model takes [-1, 2]"),
            (vec![view("x", &[0, 2], DataType::Fp64), y], "x", "is FP64; the model takes FP32"),
            (vec![view("x", &[0, 2], DataType::Fp32), y, y], "y", "twice"),
            (vec![view("z", &[], DataType::Fp32)], "z", "it has x, y"),
        ];
        for (tensors, parameter, text) in cases {
            let error = arrange(&declared, &tensors).unwrap_err();
            assert_eq!(error.parameter.as_deref(), Some(parameter));
            assert!(error.message.contains(text), "{}", error.message);
        }
    }

    #[test]
    fn tensors_may_come_in_any_order_and_a_batch_of_any_size() {
        let declared = [outlet("x", &[-1, 2]), outlet("y", &[])];
        let view = |name, shape| TensorView { name, data_type: DataType::Fp32, shape, data: &[] };
        let tensors = [view("y", &[7, 7]), view("x", &[5, 2])];
        let names: Vec<_> = arrange(&declared, &tensors).unwrap().iter().map(|tensor| tensor.name).collect();
        assert_eq!(names, ["x", "y"]);
    }
}
