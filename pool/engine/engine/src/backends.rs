//! The backends that were compiled in: one line each.

use engine_core::Backend;
use std::sync::Arc;

/// All of them; manifests name them.
pub fn compiled_in() -> Vec<Arc<dyn Backend>> {
    vec![
        Arc::new(crate::identity::Identity),
        #[cfg(feature = "smartcore")]
        backend_smartcore::backend(),
    ]
}
