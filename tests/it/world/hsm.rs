//! The HSM of all worlds.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use strongroom::{
    hsm::{Hsm, Launch, Settings, command::Seal},
    key::material::Material,
    secret::SecretBytes,
};

use super::LONG;
use crate::{engine::served, tokens::token};

/// The HSM of all worlds: materials are random and wrapped, so worlds do not meet in it.
pub fn hsm() -> &'static Hsm {
    static HSM: OnceLock<Hsm> = OnceLock::new();
    HSM.get_or_init(|| open_hsm(Settings { cached_handles: 512, ..token() }))
}

/// A key store of this one HSM, which is open.
pub fn open_hsm(settings: Settings) -> Hsm {
    served(async move {
        let hsm = Hsm::open(vec![settings], Launch::Thread);
        hsm.opened(LONG).await.unwrap();
        hsm
    })
}

/// Whether an HSM has this symmetric material.
pub async fn has(hsm: &Hsm, material: &Arc<Material>) -> bool {
    let input = SecretBytes::from(b"x".to_vec());
    let command = Seal { material: Arc::clone(material), aad: Vec::new(), input };
    hsm.call(command, Instant::now() + LONG).await.is_ok()
}
