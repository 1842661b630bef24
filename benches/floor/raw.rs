//! The floor of the HSM: the PKCS#11 calls of each operation, and nothing else, on session objects.

#![allow(unsafe_code, reason = "the C calls of PKCS#11; every block says why it is sound")]

use std::{
    ffi::c_void,
    process::Command,
    ptr,
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass},
    session::{Session, UserType},
    types::AuthPin,
};
use cryptoki_sys::{
    CK_BYTE, CK_FUNCTION_LIST, CK_GCM_PARAMS, CK_MECHANISM, CK_MECHANISM_TYPE, CK_OBJECT_HANDLE,
    CK_RSA_PKCS_OAEP_PARAMS, CK_RSA_PKCS_PSS_PARAMS, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKG_MGF1_SHA1,
    CKG_MGF1_SHA256, CKM_AES_GCM, CKM_ECDSA, CKM_RSA_PKCS_OAEP, CKM_RSA_PKCS_PSS, CKM_RSA_X_509, CKM_SHA_1, CKM_SHA256,
    CKM_SHA256_HMAC, CKR_OK, CKZ_DATA_SPECIFIED,
};
use serde::{Deserialize, Serialize};
use strongroom::dev::SOFTHSM2_MODULE;

use crate::{Outcome, cpu};

const SESSIONS: [usize; 3] = [1, 2, 4];
const PIN: &str = "1234";
/// As long as the header of a ciphertext blob, which is what Strongroom authenticates.
const AAD: [u8; 51] = [7; 51];
const IV_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const RSA_BYTES: usize = 256;
/// The name of the curve, as CKA_EC_PARAMS has it.
const P256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// The calls of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Calls {
    /// C_GenerateRandom for the IV, C_EncryptInit, C_Encrypt.
    Encrypt(usize),
    /// C_DecryptInit, C_Decrypt.
    Decrypt(usize),
    /// C_GenerateRandom for the data key, then as `Encrypt`.
    GenerateDataKey,
    /// C_DecryptInit, C_Decrypt with CKM_RSA_PKCS_OAEP.
    RsaOaepSha1,
    /// The same with CKM_RSA_X_509, which is how SoftHSM2 does OAEP with SHA-256: its padding is left to the caller.
    RsaRaw,
    /// C_SignInit, C_Sign with CKM_RSA_PKCS_PSS.
    SignRsaPss,
    /// The same with CKM_ECDSA.
    SignP256,
    /// The same with CKM_SHA256_HMAC.
    Mac,
    /// C_GenerateKeyPair, C_GetAttributeValue for the point, C_GenerateRandom and C_CreateObject for a transport key, C_WrapKey,
    /// C_DestroyObject for all three, then as `Encrypt`.
    GeneratePair,
}

/// One kind of calls at one number of sessions.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Figures {
    pub calls: Calls,
    pub sessions: usize,
    pub per_second: f64,
    pub p50_us: f64,
    pub cpu_us: f64,
}

/// Measures in a process of its own, with a token of its own.
pub fn in_a_process(cell: Duration, calls: &[Calls]) -> Outcome<Vec<Figures>> {
    let directory = tempfile::tempdir()?;
    let tokens = directory.path().join("tokens");
    std::fs::create_dir(&tokens)?;
    let conf = directory.path().join("softhsm2.conf");
    std::fs::write(&conf, format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()))?;
    let seconds = (cell.as_secs_f64() / 2.0).to_string();
    let output = Command::new(std::env::current_exe()?)
        .args(["raw", &seconds, &serde_json::to_string(calls)?])
        .env("SOFTHSM2_CONF", conf)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the process does: prints all [`Figures`] as JSON.
pub fn measure(cell: Duration, calls: &[Calls]) -> Outcome<()> {
    let token = Token::new()?;
    let mut all = Vec::new();
    for &calls in calls {
        for sessions in SESSIONS {
            all.push(token.run(calls, sessions, cell)?);
        }
    }
    println!("{}", serde_json::to_string(&all)?);
    Ok(())
}

/// A token with one key of each kind. The session that made the keys keeps them.
struct Token {
    pkcs11: Pkcs11,
    list: CK_FUNCTION_LIST,
    anchor: Session,
    keys: Keys,
    /// The functions live as long as the library is loaded.
    _library: cryptoki_sys::Pkcs11,
}

/// One key of each kind.
#[derive(Clone, Copy)]
struct Keys {
    aes: CK_OBJECT_HANDLE,
    /// Public, private.
    rsa: [CK_OBJECT_HANDLE; 2],
    sign_rsa: CK_OBJECT_HANDLE,
    sign_p256: CK_OBJECT_HANDLE,
    mac: CK_OBJECT_HANDLE,
}

impl Keys {
    fn new(session: &Session) -> Outcome<Self> {
        let uses = [Attribute::Encrypt(true), Attribute::Decrypt(true), Attribute::Token(false)];
        let aes = [&uses[..], &[Attribute::ValueLen(32.into())]].concat();
        let mac = [Attribute::Sign(true), Attribute::Token(false), Attribute::ValueLen(32.into())];
        let public = [Attribute::Encrypt(true), Attribute::ModulusBits(2048.into())];
        let private = [Attribute::Decrypt(true), Attribute::Token(false)];
        let rsa = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
        let signs = [Attribute::Sign(true), Attribute::Token(false)];
        let modulus = [Attribute::ModulusBits(2048.into())];
        let curve = [Attribute::EcParams(P256.to_vec())];
        Ok(Self {
            aes: session.generate_key(&Mechanism::AesKeyGen, &aes)?.handle(),
            rsa: [rsa.0.handle(), rsa.1.handle()],
            sign_rsa: session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &modulus, &signs)?.1.handle(),
            sign_p256: session.generate_key_pair(&Mechanism::EccKeyPairGen, &curve, &signs)?.1.handle(),
            mac: session.generate_key(&Mechanism::GenericSecretKeyGen, &mac)?.handle(),
        })
    }
}

impl Token {
    fn new() -> Outcome<Self> {
        let pkcs11 = Pkcs11::new(SOFTHSM2_MODULE)?;
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        let slot = *pkcs11.get_slots_with_token()?.first().ok_or("no slot")?;
        let pin = AuthPin::from(PIN.to_owned());
        pkcs11.init_token(slot, &pin, "floor")?;
        let anchor = pkcs11.open_rw_session(slot)?;
        anchor.login(UserType::So, Some(&pin))?;
        anchor.init_pin(&pin)?;
        anchor.logout()?;
        anchor.login(UserType::User, Some(&pin))?;
        let keys = Keys::new(&anchor)?;
        let (list, library) = function_list()?;
        Ok(Self { pkcs11, list, anchor, keys, _library: library })
    }

    fn run(&self, calls: Calls, sessions: usize, time: Duration) -> Outcome<Figures> {
        let slot = self.anchor.get_session_info()?.slot_id();
        let input = self.input(calls)?;
        let sessions: Vec<Session> =
            (0..sessions).map(|_| self.pkcs11.open_rw_session(slot)).collect::<Result<_, _>>()?;
        let (cpu, began) = (cpu::of(std::process::id())?, Instant::now());
        let until = began + time;
        let count = sessions.len();
        let mut latencies = std::thread::scope(|scope| {
            let work = |session: Session| {
                let (list, keys, input) = (&self.list, self.keys, &input);
                scope.spawn(move || {
                    let line = Line { list, session: &session, keys };
                    let (mut latencies, mut now) = (Vec::new(), Instant::now());
                    while now < until {
                        line.perform(calls, input)?;
                        let then = std::mem::replace(&mut now, Instant::now());
                        latencies.push(now - then);
                    }
                    Ok::<_, String>(latencies)
                })
            };
            let threads: Vec<_> = sessions.into_iter().map(work).collect();
            let done = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?);
            done.collect::<Result<Vec<_>, String>>().map(|all| all.concat())
        })?;
        let (took, cpu) = (began.elapsed(), cpu::of(std::process::id())?.saturating_sub(cpu));
        latencies.sort_unstable();
        let requests = latencies.len() as f64;
        Ok(Figures {
            calls,
            sessions: count,
            per_second: requests / took.as_secs_f64(),
            p50_us: latencies.get(latencies.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6),
            cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        })
    }

    /// What the calls get: a plaintext, or a ciphertext of this token.
    fn input(&self, calls: Calls) -> Outcome<Input> {
        let line = Line { list: &self.list, session: &self.anchor, keys: self.keys };
        let iv = [9; IV_BYTES];
        let data = match calls {
            Calls::Encrypt(size) => vec![1; size],
            Calls::GenerateDataKey => vec![0; 32],
            Calls::Decrypt(size) => line.encrypt(iv, &vec![1; size])?,
            Calls::RsaOaepSha1 | Calls::RsaRaw => line.rsa_encrypt(&[1; 32])?,
            // A digest, or a message as long; a private key as PKCS#8 is 138 bytes.
            Calls::SignRsaPss | Calls::SignP256 | Calls::Mac => vec![1; 32],
            Calls::GeneratePair => vec![1; 138],
        };
        Ok(Input { iv, data })
    }
}

struct Input {
    iv: [u8; IV_BYTES],
    data: Vec<u8>,
}

fn function_list() -> Outcome<(CK_FUNCTION_LIST, cryptoki_sys::Pkcs11)> {
    // SAFETY: `cryptoki` has loaded this library already, so its constructors have run.
    let library = unsafe { cryptoki_sys::Pkcs11::new(SOFTHSM2_MODULE) }?;
    let get = library.C_GetFunctionList.as_ref().map_err(|_| "no C_GetFunctionList")?;
    let mut list = ptr::null_mut();
    // SAFETY: the function writes one pointer to the place we give it.
    check(unsafe { get(&mut list) })?;
    // SAFETY: on CKR_OK the pointer is to the library's constant function list; null is caught.
    let list = *unsafe { list.as_ref() }.ok_or("no function list")?;
    Ok((list, library))
}

/// One session, used by one thread.
struct Line<'a> {
    list: &'a CK_FUNCTION_LIST,
    session: &'a Session,
    keys: Keys,
}

type Begin = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Finish = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG) -> CK_RV;
type Step = (Option<Begin>, Option<Finish>);

impl Line<'_> {
    fn perform(&self, calls: Calls, input: &Input) -> Result<(), String> {
        let decrypt = (self.list.C_DecryptInit, self.list.C_Decrypt);
        let Keys { rsa: [_, private], sign_rsa, sign_p256, mac, .. } = self.keys;
        let output = match calls {
            Calls::Encrypt(_) => self.encrypt(self.random()?, &input.data)?,
            Calls::GenerateDataKey => {
                let data_key: [u8; 32] = self.random()?;
                self.encrypt(self.random()?, &data_key)?
            }
            Calls::Decrypt(_) => self.gcm(decrypt, input.iv, &input.data, input.data.len())?,
            Calls::RsaOaepSha1 => self.oaep(decrypt, private, &input.data)?,
            Calls::RsaRaw => {
                self.call(decrypt, &mut mechanism::<()>(CKM_RSA_X_509, None), private, &input.data, RSA_BYTES)?
            }
            Calls::SignRsaPss => {
                let mut pss = CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA256, mgf: CKG_MGF1_SHA256, sLen: 32 };
                self.sign(&mut mechanism(CKM_RSA_PKCS_PSS, Some(&mut pss)), sign_rsa, &input.data)?
            }
            Calls::SignP256 => self.sign(&mut mechanism::<()>(CKM_ECDSA, None), sign_p256, &input.data)?,
            Calls::Mac => self.sign(&mut mechanism::<()>(CKM_SHA256_HMAC, None), mac, &input.data)?,
            Calls::GeneratePair => {
                self.take_out_a_pair().map_err(|error| error.to_string())?;
                self.encrypt(self.random()?, &input.data)?
            }
        };
        if output.is_empty() { Err("an empty output".to_owned()) } else { Ok(()) }
    }

    fn sign(&self, mechanism: &mut CK_MECHANISM, key: CK_OBJECT_HANDLE, input: &[u8]) -> Result<Vec<u8>, String> {
        self.call((self.list.C_SignInit, self.list.C_Sign), mechanism, key, input, RSA_BYTES)
    }

    /// A pair that leaves the HSM wrapped. By `cryptoki`, which makes the same calls; what it adds is little beside them.
    fn take_out_a_pair(&self) -> Outcome<()> {
        let curve = [Attribute::Token(false), Attribute::EcParams(P256.to_vec())];
        let leaves = [Attribute::Token(false), Attribute::Sensitive(true), Attribute::Extractable(true)];
        let (public, private) = self.session.generate_key_pair(&Mechanism::EccKeyPairGen, &curve, &leaves)?;
        self.session.get_attributes(public, &[AttributeType::EcPoint])?;
        let wraps =
            [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES), Attribute::Wrap(true)];
        let value = Attribute::Value(self.random::<32>()?.to_vec());
        let transport = self.session.create_object(&[&wraps[..], &[value, Attribute::Token(false)]].concat())?;
        self.session.wrap_key(&Mechanism::AesKeyWrapPad, transport, private)?;
        Ok([transport, public, private].into_iter().try_for_each(|object| self.session.destroy_object(object))?)
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        let call = self.list.C_GenerateRandom.ok_or("no C_GenerateRandom")?;
        // SAFETY: the function writes N bytes to a buffer of N bytes.
        check(unsafe { call(self.session.handle(), bytes.as_mut_ptr(), N as CK_ULONG) })?;
        Ok(bytes)
    }

    fn encrypt(&self, iv: [u8; IV_BYTES], input: &[u8]) -> Result<Vec<u8>, String> {
        self.gcm((self.list.C_EncryptInit, self.list.C_Encrypt), iv, input, input.len() + TAG_BYTES)
    }

    fn gcm(&self, step: Step, mut iv: [u8; IV_BYTES], input: &[u8], room: usize) -> Result<Vec<u8>, String> {
        let mut aad = AAD;
        let mut parameters = CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: IV_BYTES as CK_ULONG,
            ulIvBits: (IV_BYTES * 8) as CK_ULONG,
            pAAD: aad.as_mut_ptr(),
            ulAADLen: aad.len() as CK_ULONG,
            ulTagBits: (TAG_BYTES * 8) as CK_ULONG,
        };
        self.call(step, &mut mechanism(CKM_AES_GCM, Some(&mut parameters)), self.keys.aes, input, room)
    }

    fn rsa_encrypt(&self, input: &[u8]) -> Result<Vec<u8>, String> {
        let [public, _] = self.keys.rsa;
        self.oaep((self.list.C_EncryptInit, self.list.C_Encrypt), public, input)
    }

    fn oaep(&self, step: Step, key: CK_OBJECT_HANDLE, input: &[u8]) -> Result<Vec<u8>, String> {
        let mut parameters = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA_1,
            mgf: CKG_MGF1_SHA1,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: ptr::null_mut(),
            ulSourceDataLen: 0,
        };
        self.call(step, &mut mechanism(CKM_RSA_PKCS_OAEP, Some(&mut parameters)), key, input, RSA_BYTES)
    }

    fn call(
        &self,
        (begin, finish): Step,
        mechanism: &mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        input: &[u8],
        room: usize,
    ) -> Result<Vec<u8>, String> {
        let (begin, finish) = begin.zip(finish).ok_or("a function is missing")?;
        let mut output = vec![0; room];
        let mut length = room as CK_ULONG;
        // SAFETY: the mechanism points at parameters that the caller holds until this function returns.
        check(unsafe { begin(self.session.handle(), mechanism, key) })?;
        let (from, to) = (input.as_ptr().cast_mut(), output.as_mut_ptr());
        // SAFETY: `input` is only read; `output` has `length` bytes; both outlive the call.
        check(unsafe { finish(self.session.handle(), from, input.len() as CK_ULONG, to, &mut length) })?;
        output.truncate(usize::try_from(length).unwrap_or(0));
        Ok(output)
    }
}

fn mechanism<P>(mechanism: CK_MECHANISM_TYPE, parameters: Option<&mut P>) -> CK_MECHANISM {
    let length = if parameters.is_some() { size_of::<P>() } else { 0 };
    let pointer = parameters.map_or(ptr::null_mut(), |parameters| ptr::from_mut(parameters).cast::<c_void>());
    CK_MECHANISM { mechanism, pParameter: pointer, ulParameterLen: length as CK_ULONG }
}

fn check(rv: CK_RV) -> Result<(), String> {
    if rv == CKR_OK { Ok(()) } else { Err(format!("the HSM answered {rv:#x}")) }
}
