//! PKCS#11 as the tests speak it: each call is one line, and what comes back is the code as it is.

use std::path::Path;
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use cryptoki_sys::*;

/// A loaded module.
pub struct P11 {
    pub list: CK_FUNCTION_LIST,
    pub library: &'static Pkcs11,
}

/// Calls a function of the list.
#[macro_export]
macro_rules! call {
    ($p11:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $p11.list.$function.unwrap();
        // SAFETY: each pointer is to a place of the caller's of the kind that the function wants, or null where that may be.
        unsafe { function($($argument),*) }
    }};
}

pub type Answer<T> = Result<T, CK_RV>;

pub fn ok<T>(code: CK_RV, value: T) -> Answer<T> {
    if code == CKR_OK { Ok(value) } else { Err(code) }
}

/// One attribute of a template.
#[derive(Clone)]
pub struct Attribute(pub CK_ATTRIBUTE_TYPE, pub Vec<u8>);

impl Attribute {
    pub fn flag(kind: CK_ATTRIBUTE_TYPE, on: bool) -> Self {
        Self(kind, vec![on.into()])
    }

    pub fn number(kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Self {
        Self(kind, value.to_ne_bytes().to_vec())
    }

    pub fn bytes(kind: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Self {
        Self(kind, value.to_vec())
    }
}

/// The C form of a template, which lives as long as the template.
pub fn raw(template: &mut [Attribute]) -> Vec<CK_ATTRIBUTE> {
    let one = |Attribute(kind, value): &mut Attribute| CK_ATTRIBUTE {
        type_: *kind,
        pValue: value.as_mut_ptr().cast(),
        ulValueLen: value.len() as CK_ULONG,
    };
    template.iter_mut().map(one).collect()
}

pub fn mechanism(kind: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: kind, pParameter: null_mut(), ulParameterLen: 0 }
}

/// An AES key of 256 bits as it should be: for this session, not to be read, not to leave.
pub fn aes() -> Vec<Attribute> {
    vec![
        Attribute::number(CKA_CLASS, CKO_SECRET_KEY),
        Attribute::number(CKA_KEY_TYPE, CKK_AES),
        Attribute::flag(CKA_TOKEN, false),
        Attribute::flag(CKA_PRIVATE, true),
        Attribute::flag(CKA_SENSITIVE, true),
        Attribute::flag(CKA_EXTRACTABLE, false),
        Attribute::flag(CKA_ENCRYPT, true),
        Attribute::flag(CKA_DECRYPT, true),
        Attribute::number(CKA_VALUE_LEN, 32),
    ]
}

/// The same with some attributes changed or added.
pub fn aes_with(changes: &[Attribute]) -> Vec<Attribute> {
    let mut template = aes();
    template.retain(|one| changes.iter().all(|change| change.0 != one.0));
    template.extend_from_slice(changes);
    template
}

impl P11 {
    pub fn load(path: &Path) -> Self {
        // SAFETY: the file is a PKCS#11 module.
        let library = unsafe { Pkcs11::new(path) }.unwrap();
        // A module that is unloaded forgets its state, and the next test would find other slots.
        let library = Box::leak(Box::new(library));
        let mut list = null_mut();
        // SAFETY: the place for the pointer is ours.
        assert_eq!(unsafe { library.C_GetFunctionList.as_ref().unwrap()(&mut list) }, CKR_OK);
        // SAFETY: the answer was CKR_OK; the list is copied.
        let p11 = Self { list: unsafe { *list }, library };
        let code = p11.initialize();
        assert!(matches!(code, CKR_OK | CKR_CRYPTOKI_ALREADY_INITIALIZED), "{code:#x}");
        p11
    }

    /// SoftHSM2 does not stand two of these at once.
    pub fn initialize(&self) -> CK_RV {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut args = CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..Default::default() };
        call!(self, C_Initialize((&raw mut args).cast()))
    }

    pub fn open(&self, slot: CK_SLOT_ID) -> Answer<CK_SESSION_HANDLE> {
        let mut session = 0;
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        ok(call!(self, C_OpenSession(slot, flags, null_mut(), None, &mut session)), session)
    }

    pub fn login(&self, session: CK_SESSION_HANDLE, pin: &str) -> CK_RV {
        call!(self, C_Login(session, CKU_USER, pin.as_ptr().cast_mut(), pin.len() as CK_ULONG))
    }

    pub fn generate(&self, session: CK_SESSION_HANDLE, template: &[Attribute]) -> Answer<CK_OBJECT_HANDLE> {
        let (mut template, mut key) = (template.to_vec(), 0);
        // What the class and the type are is said by the mechanism.
        template.retain(|one| one.0 != CKA_KEY_TYPE && one.0 != CKA_CLASS);
        let mut raw = raw(&mut template);
        let mut how = mechanism(CKM_AES_KEY_GEN);
        let count = raw.len() as CK_ULONG;
        ok(call!(self, C_GenerateKey(session, &mut how, raw.as_mut_ptr(), count, &mut key)), key)
    }

    pub fn create(&self, session: CK_SESSION_HANDLE, template: &[Attribute]) -> Answer<CK_OBJECT_HANDLE> {
        let (mut template, mut object) = (template.to_vec(), 0);
        let mut raw = raw(&mut template);
        let count = raw.len() as CK_ULONG;
        ok(call!(self, C_CreateObject(session, raw.as_mut_ptr(), count, &mut object)), object)
    }

    pub fn destroy(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
        call!(self, C_DestroyObject(session, object))
    }

    /// All objects that match, asked for three at a time.
    pub fn find(&self, session: CK_SESSION_HANDLE, template: &[Attribute]) -> Answer<Vec<CK_OBJECT_HANDLE>> {
        let mut template = template.to_vec();
        let mut raw = raw(&mut template);
        ok(call!(self, C_FindObjectsInit(session, raw.as_mut_ptr(), raw.len() as CK_ULONG)), ())?;
        let mut all = Vec::new();
        loop {
            let (mut some, mut count) = ([0; 3], 0);
            ok(call!(self, C_FindObjects(session, some.as_mut_ptr(), 3, &mut count)), ())?;
            if count == 0 {
                break;
            }
            all.extend_from_slice(&some[..count as usize]);
        }
        ok(call!(self, C_FindObjectsFinal(session)), all)
    }

    pub fn find_id(&self, session: CK_SESSION_HANDLE, id: &[u8]) -> Answer<Vec<CK_OBJECT_HANDLE>> {
        self.find(session, &[Attribute::bytes(CKA_ID, id)])
    }

    pub fn random(&self, session: CK_SESSION_HANDLE, len: usize) -> Answer<Vec<u8>> {
        let mut bytes = vec![0; len];
        ok(call!(self, C_GenerateRandom(session, bytes.as_mut_ptr(), len as CK_ULONG)), bytes)
    }

    pub fn encrypt_init(&self, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE, iv: &[u8]) -> CK_RV {
        gcm(iv, |how| call!(self, C_EncryptInit(session, how, key)))
    }

    pub fn decrypt_init(&self, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE, iv: &[u8]) -> CK_RV {
        gcm(iv, |how| call!(self, C_DecryptInit(session, how, key)))
    }

    /// C_Encrypt alone, with room for this much.
    pub fn encrypt_into(&self, session: CK_SESSION_HANDLE, data: &[u8], room: usize) -> (CK_RV, Vec<u8>, CK_ULONG) {
        let (mut out, mut len) = (vec![0; room], room as CK_ULONG);
        let code = call!(
            self,
            C_Encrypt(session, data.as_ptr().cast_mut(), data.len() as CK_ULONG, out.as_mut_ptr(), &mut len)
        );
        (code, out, len)
    }

    pub fn encrypt(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        iv: &[u8],
        data: &[u8],
    ) -> Answer<Vec<u8>> {
        ok(self.encrypt_init(session, key, iv), ())?;
        let (code, mut out, len) = self.encrypt_into(session, data, data.len() + 16);
        out.truncate(len as usize);
        ok(code, out)
    }

    pub fn decrypt(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        iv: &[u8],
        data: &[u8],
    ) -> Answer<Vec<u8>> {
        ok(self.decrypt_init(session, key, iv), ())?;
        let (mut out, mut len) = (vec![0; data.len()], data.len() as CK_ULONG);
        let input = data.as_ptr().cast_mut();
        let code = call!(self, C_Decrypt(session, input, data.len() as CK_ULONG, out.as_mut_ptr(), &mut len));
        out.truncate(len as usize);
        ok(code, out)
    }

    pub fn digest(&self, session: CK_SESSION_HANDLE, kind: CK_MECHANISM_TYPE, data: &[u8]) -> Answer<Vec<u8>> {
        let mut how = mechanism(kind);
        ok(call!(self, C_DigestInit(session, &mut how)), ())?;
        let (mut out, mut len) = (vec![0; 64], 64);
        let input = data.as_ptr().cast_mut();
        let code = call!(self, C_Digest(session, input, data.len() as CK_ULONG, out.as_mut_ptr(), &mut len));
        out.truncate(len as usize);
        ok(code, out)
    }

    pub fn close(&self, session: CK_SESSION_HANDLE) -> CK_RV {
        call!(self, C_CloseSession(session))
    }

    pub fn session_state(&self, session: CK_SESSION_HANDLE) -> Answer<CK_STATE> {
        let mut info = CK_SESSION_INFO::default();
        let code = call!(self, C_GetSessionInfo(session, &mut info));
        ok(code, info.state)
    }

    pub fn token_flags(&self, slot: CK_SLOT_ID) -> Answer<CK_FLAGS> {
        let mut info = CK_TOKEN_INFO::default();
        let code = call!(self, C_GetTokenInfo(slot, &mut info));
        ok(code, info.flags)
    }

    /// The slots that have a token.
    pub fn slots(&self) -> Vec<CK_SLOT_ID> {
        let mut count = 0;
        assert_eq!(call!(self, C_GetSlotList(CK_TRUE, null_mut(), &mut count)), CKR_OK);
        // Another test may make a token meanwhile.
        let mut slots = vec![0; count as usize + 16];
        let mut count = slots.len() as CK_ULONG;
        assert_eq!(call!(self, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &mut count)), CKR_OK);
        slots.truncate(count as usize);
        slots
    }
}

/// AES-GCM with a tag of 128 bits and no further data.
fn gcm(iv: &[u8], go: impl FnOnce(&mut CK_MECHANISM) -> CK_RV) -> CK_RV {
    let mut iv = iv.to_vec();
    let mut parameter = CK_GCM_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: iv.len() as CK_ULONG,
        ulIvBits: iv.len() as CK_ULONG * 8,
        pAAD: null_mut(),
        ulAADLen: 0,
        ulTagBits: 128,
    };
    let mut how = CK_MECHANISM {
        mechanism: CKM_AES_GCM,
        pParameter: (&raw mut parameter).cast(),
        ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
    };
    go(&mut how)
}
