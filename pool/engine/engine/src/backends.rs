//! The backends that were compiled in: one line each.

use engine_core::Backend;
use std::sync::Arc;

/// All of them; manifests name them.
pub fn compiled_in() -> Vec<Arc<dyn Backend>> {
    vec![
        Arc::new(crate::identity::Identity),
        #[cfg(feature = "native")]
        backend_native::backend(),
        #[cfg(feature = "candle")]
        backend_candle::backend(),
        #[cfg(feature = "onnx")]
        backend_onnx::backend(),
        #[cfg(feature = "burn")]
        backend_burn::backend(),
        #[cfg(feature = "linfa")]
        backend_linfa::backend(),
        #[cfg(feature = "smartcore")]
        backend_smartcore::backend(),
    ]
}
