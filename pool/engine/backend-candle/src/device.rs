//! Which device a model is computed on.

use crate::fault::unready;
use candle_core::Device;
use engine_core::EngineError;

/// GPUs of a machine, at most.
const GPUS_MAX: usize = 64;

/// The device of that name: `cpu`, or `cuda:N`. Without a name: the first GPU where this build computes on GPUs and there is
/// one, else the processor.
///
/// # Errors
/// `ModelNotReady` where there is no such device.
pub fn choose(name: Option<&str>) -> Result<Device, EngineError> {
    match name {
        Some("cpu") => Ok(Device::Cpu),
        Some(name) => gpu(number(name)?),
        None if cfg!(feature = "cuda") => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
        None => Ok(Device::Cpu),
    }
}

fn number(name: &str) -> Result<usize, EngineError> {
    let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok()).filter(|number| *number < GPUS_MAX);
    number.ok_or_else(|| {
        unready(format!("There is no device \"{name}\": it is \"cpu\" or \"cuda:N\", such as \"cuda:0\"."))
    })
}

fn gpu(number: usize) -> Result<Device, EngineError> {
    if !cfg!(feature = "cuda") {
        return Err(unready("This engine was built without the feature \"cuda\": its only device is \"cpu\"."));
    }
    Device::new_cuda(number).map_err(|error| unready(format!("The GPU {number} cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_always_there() {
        assert!(choose(Some("cpu")).expect("the processor").is_cpu());
        choose(None).expect("some device");
    }

    #[test]
    fn a_name_that_is_no_device_is_refused() {
        for name in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:one", "cuda:64", "CPU"] {
            let refusal = choose(Some(name)).err().map(|error| error.message).unwrap_or_default();
            assert!(refusal.contains("There is no device"), "{name}: {refusal}");
        }
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_gpu_is_refused_where_none_is_computed_on() {
        let refusal = choose(Some("cuda:0")).err().map(|error| error.message).unwrap_or_default();
        assert!(refusal.contains("built without"), "{refusal}");
    }
}
