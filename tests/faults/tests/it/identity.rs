//! Without rules the module is not to be noticed: the same script against the bare module and through ours gives the same
//! answers, the codes of mistakes included.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::call;
use crate::p11::{Answer, Attribute, P11, aes, aes_with, mechanism, ok, raw};
use crate::token::{Bench, PIN, new_token, softhsm};

/// What was called and what came back.
#[derive(Default)]
struct Log(Vec<String>);

impl Log {
    fn code(&mut self, what: &str, code: CK_RV) {
        self.0.push(format!("{what}: {code:#x}"));
    }

    fn bytes(&mut self, what: &str, answer: Answer<Vec<u8>>) {
        self.0.push(format!("{what}: {answer:02x?}"));
    }

    fn length(&mut self, what: &str, answer: Answer<Vec<u8>>) {
        self.0.push(format!("{what}: {:?}", answer.map(|bytes| bytes.len())));
    }

    fn number(&mut self, what: &str, answer: Answer<u64>) {
        self.0.push(format!("{what}: {answer:?}"));
    }
}

#[test]
fn the_same_script_gives_the_same_answers() {
    let (bare, bench) = (P11::load(&softhsm()), Bench::new());
    let (expected, seen) = (script(&bare, new_token().0), script(&bench.p11, bench.slot));
    assert!(expected.len() >= 80, "{}", expected.len());
    for (expected, seen) in expected.iter().zip(&seen) {
        assert_eq!(seen, expected);
    }
    assert_eq!(seen.len(), expected.len());
}

fn script(p11: &P11, slot: CK_SLOT_ID) -> Vec<String> {
    let mut log = Log::default();
    slots(&mut log, p11, slot);
    sessions(&mut log, p11, slot);
    logins(&mut log, p11, slot);
    let session = p11.open(slot).unwrap();
    p11.login(session, PIN);
    objects(&mut log, p11, slot, session);
    ciphers(&mut log, p11, session);
    in_parts(&mut log, p11, session);
    signatures(&mut log, p11, session);
    wrapping(&mut log, p11, session);
    mistakes(&mut log, p11, session);
    log.code("last close", p11.close(session));
    log.0
}

fn slots(log: &mut Log, p11: &P11, slot: CK_SLOT_ID) {
    let mut info = CK_INFO::default();
    log.code("info", call!(p11, C_GetInfo(&mut info)));
    log.0.push(format!("{info:?}"));
    log.code("info to nowhere", call!(p11, C_GetInfo(null_mut())));
    log.code("slots to nowhere", call!(p11, C_GetSlotList(CK_TRUE, null_mut(), null_mut())));
    let (mut one, mut count) = ([0], 1);
    log.code("too many slots", call!(p11, C_GetSlotList(CK_TRUE, one.as_mut_ptr(), &mut count)));
    let mut info = CK_SLOT_INFO::default();
    log.code("slot", call!(p11, C_GetSlotInfo(slot, &mut info)));
    log.number("slot flags", Ok(info.flags));
    log.code("no such slot", call!(p11, C_GetSlotInfo(99_999, &mut info)));
    log.number("token flags", p11.token_flags(slot));
    log.number("no such token", p11.token_flags(99_999));
    let mut count = 0;
    log.code("mechanisms", call!(p11, C_GetMechanismList(slot, null_mut(), &mut count)));
    log.number("mechanisms", Ok(count));
    let mut info = CK_MECHANISM_INFO::default();
    log.code("mechanism", call!(p11, C_GetMechanismInfo(slot, CKM_AES_GCM, &mut info)));
    log.0.push(format!("{info:?}"));
    log.code("no such mechanism", call!(p11, C_GetMechanismInfo(slot, 0x7fff_ffff, &mut info)));
    log.code("initialised again", p11.initialize());
}

fn sessions(log: &mut Log, p11: &P11, slot: CK_SLOT_ID) {
    let mut session = 0;
    log.code("not serial", call!(p11, C_OpenSession(slot, CKF_RW_SESSION, null_mut(), None, &mut session)));
    log.code("to nowhere", call!(p11, C_OpenSession(slot, CKF_SERIAL_SESSION, null_mut(), None, null_mut())));
    log.number("no such slot", p11.open(99_999));
    let session = p11.open(slot).unwrap();
    log.number("state", p11.session_state(session));
    log.code("info to nowhere", call!(p11, C_GetSessionInfo(session, null_mut())));
    log.number("state of none", p11.session_state(0));
    log.number("state of another", p11.session_state(424_242));
    let mut len = 0;
    log.code("operation state", call!(p11, C_GetOperationState(session, null_mut(), &mut len)));
    log.code("set operation state", call!(p11, C_SetOperationState(session, null_mut(), 0, 0, 0)));
    log.code("status", call!(p11, C_GetFunctionStatus(session)));
    log.code("cancel", call!(p11, C_CancelFunction(session)));
    log.length("random", p11.random(session, 24));
    log.code("random to nowhere", call!(p11, C_GenerateRandom(session, null_mut(), 8)));
    log.code("seed", call!(p11, C_SeedRandom(session, b"seed".as_ptr().cast_mut(), 4)));
    log.code("close", p11.close(session));
    log.code("close again", p11.close(session));
    log.code("close none", p11.close(0));
    let (one, other) = (p11.open(slot).unwrap(), p11.open(slot).unwrap());
    log.code("close all", call!(p11, C_CloseAllSessions(slot)));
    log.number("one of them", p11.session_state(one));
    log.number("the other", p11.session_state(other));
    log.code("close all of none", call!(p11, C_CloseAllSessions(99_999)));
}

fn logins(log: &mut Log, p11: &P11, slot: CK_SLOT_ID) {
    let session = p11.open(slot).unwrap();
    log.number("a key without login", p11.generate(session, &aes()).map(|_| 0));
    log.code("logout without login", call!(p11, C_Logout(session)));
    log.code("a wrong pin", p11.login(session, "wrong"));
    log.code("no pin", call!(p11, C_Login(session, CKU_USER, null_mut(), 4)));
    log.code("no such user", call!(p11, C_Login(session, 77, null_mut(), 0)));
    log.code("login", p11.login(session, PIN));
    log.number("state", p11.session_state(session));
    log.code("login again", p11.login(session, PIN));
    let key = p11.generate(session, &aes()).unwrap();
    log.code("logout", call!(p11, C_Logout(session)));
    log.code("a handle from before", p11.encrypt_init(session, key, &[1; 12]));
    let (old, new) = (PIN.as_ptr().cast_mut(), b"another-pin".as_ptr().cast_mut());
    p11.login(session, PIN);
    log.code("set pin", call!(p11, C_SetPIN(session, old, PIN.len() as u64, new, 11)));
    log.code("set pin back", call!(p11, C_SetPIN(session, new, 11, old, PIN.len() as u64)));
    log.code("close", p11.close(session));
}

fn objects(log: &mut Log, p11: &P11, slot: CK_SLOT_ID, session: CK_SESSION_HANDLE) {
    let data = |label: &[u8], token| {
        vec![
            Attribute::number(CKA_CLASS, CKO_DATA),
            Attribute::flag(CKA_TOKEN, token),
            Attribute::flag(CKA_PRIVATE, false),
            Attribute::bytes(CKA_LABEL, label),
            Attribute::bytes(CKA_VALUE, b"value"),
        ]
    };
    let objects: Vec<_> = (0..7).map(|_| p11.create(session, &data(b"many", true)).unwrap()).collect();
    log.number("made", Ok(objects.len() as u64));
    let of = |label: &[u8]| [Attribute::bytes(CKA_LABEL, label)];
    log.number("found", p11.find(session, &of(b"many")).map(|found| found.len() as u64));
    log.0.push(format!("in order: {}", p11.find(session, &of(b"many")).unwrap() == objects));
    log.number("found none", p11.find(session, &of(b"none")).map(|found| found.len() as u64));
    let mut value = [Attribute::bytes(CKA_VALUE, &[0; 9])];
    let mut one = raw(&mut value);
    log.code("value", call!(p11, C_GetAttributeValue(session, objects[0], one.as_mut_ptr(), 1)));
    log.number("value", Ok(one[0].ulValueLen));
    let mut short = [Attribute::bytes(CKA_VALUE, &[0; 2]), Attribute::bytes(CKA_MODULUS, &[0; 2])];
    let mut two = raw(&mut short);
    log.code("too short", call!(p11, C_GetAttributeValue(session, objects[0], two.as_mut_ptr(), 2)));
    log.0.push(format!("{:x} {:x}", two[0].ulValueLen, two[1].ulValueLen));
    let mut size = 0;
    log.code("size", call!(p11, C_GetObjectSize(session, objects[0], &mut size)));
    log.number("size", Ok(size));
    let mut label = of(b"renamed");
    log.code("rename", call!(p11, C_SetAttributeValue(session, objects[0], raw(&mut label).as_mut_ptr(), 1)));
    log.number("renamed", p11.find(session, &of(b"renamed")).map(|found| found.len() as u64));
    let (mut copy, mut token) = (0, [Attribute::flag(CKA_TOKEN, false)]);
    log.code("copy", call!(p11, C_CopyObject(session, objects[0], raw(&mut token).as_mut_ptr(), 1, &mut copy)));
    log.code("destroy", p11.destroy(session, objects[1]));
    log.code("destroy again", p11.destroy(session, objects[1]));
    log.code("destroy none", p11.destroy(session, 0));
    log.number("nonsense", p11.create(session, &[]).map(|_| 0));
    let other = p11.open(slot).unwrap();
    let passing = p11.create(other, &data(b"passing", false)).unwrap();
    log.number("of another session", p11.find(session, &of(b"passing")).map(|found| found.len() as u64));
    log.code("close", p11.close(other));
    log.code("gone with its session", p11.destroy(session, passing));
    let mut found = 0;
    log.code("find without init", call!(p11, C_FindObjects(session, &mut found, 1, &mut size)));
    log.code("final without init", call!(p11, C_FindObjectsFinal(session)));
    let read_only = read_only(p11, slot);
    log.number("token object in a read-only session", p11.create(read_only, &data(b"ro", true)).map(|_| 0));
    p11.close(read_only);
}

fn read_only(p11: &P11, slot: CK_SLOT_ID) -> CK_SESSION_HANDLE {
    let mut session = 0;
    assert_eq!(call!(p11, C_OpenSession(slot, CKF_SERIAL_SESSION, null_mut(), None, &mut session)), CKR_OK);
    session
}

/// An AES key whose value is known, so that ciphertexts are the same on every token.
fn known_key(p11: &P11, session: CK_SESSION_HANDLE) -> CK_OBJECT_HANDLE {
    let mut template = aes_with(&[
        Attribute::bytes(CKA_VALUE, &[7; 32]),
        Attribute::flag(CKA_SIGN, true),
        Attribute::flag(CKA_VERIFY, true),
        Attribute::flag(CKA_WRAP, true),
        Attribute::flag(CKA_UNWRAP, true),
    ]);
    template.retain(|one| one.0 != CKA_VALUE_LEN);
    p11.create(session, &template).unwrap()
}

fn ciphers(log: &mut Log, p11: &P11, session: CK_SESSION_HANDLE) {
    let key = known_key(p11, session);
    let sealed = p11.encrypt(session, key, &[1; 12], b"some data");
    log.bytes("gcm", sealed.clone());
    log.bytes("back", p11.decrypt(session, key, &[1; 12], &sealed.clone().unwrap()));
    log.length("wrong iv", p11.decrypt(session, key, &[2; 12], &sealed.unwrap()));
    log.length("too short", p11.decrypt(session, key, &[1; 12], b"short"));
    log.code("init", p11.encrypt_init(session, key, &[3; 12]));
    let mut len = 0;
    log.code("length", call!(p11, C_Encrypt(session, b"data".as_ptr().cast_mut(), 4, null_mut(), &mut len)));
    log.number("length", Ok(len));
    let (code, _, len) = p11.encrypt_into(session, b"data", 5);
    log.0.push(format!("too small: {code:#x} {len}"));
    let (code, out, len) = p11.encrypt_into(session, b"data", 64);
    log.0.push(format!("large: {code:#x} {len} {:02x?}", &out[..20]));
    log.code("no init", p11.encrypt_into(session, b"data", 64).0);
    let mut how = mechanism(CKM_AES_ECB);
    log.code("ecb", call!(p11, C_EncryptInit(session, &mut how, key)));
    let (code, out, len) = p11.encrypt_into(session, &[5; 32], 32);
    log.0.push(format!("ecb: {code:#x} {len} {out:02x?}"));
    log.code("no mechanism", call!(p11, C_EncryptInit(session, null_mut(), key)));
    let mut how = mechanism(0x7fff_ffff);
    log.code("no such mechanism", call!(p11, C_EncryptInit(session, &mut how, key)));
}

fn in_parts(log: &mut Log, p11: &P11, session: CK_SESSION_HANDLE) {
    log.bytes("sha256", p11.digest(session, CKM_SHA256, b"abc"));
    let mut how = mechanism(CKM_SHA256);
    log.code("init", call!(p11, C_DigestInit(session, &mut how)));
    for part in [b"a", b"b", b"c"] {
        log.code("update", call!(p11, C_DigestUpdate(session, part.as_ptr().cast_mut(), 1)));
    }
    let (mut out, mut len) = (vec![0; 64], 64);
    let code = call!(p11, C_DigestFinal(session, out.as_mut_ptr(), &mut len));
    out.truncate(len as usize);
    log.bytes("final", ok(code, out));
    log.code("again", call!(p11, C_DigestUpdate(session, b"x".as_ptr().cast_mut(), 1)));
    let key = known_key(p11, session);
    let mut how = mechanism(CKM_AES_ECB);
    log.code("init", call!(p11, C_EncryptInit(session, &mut how, key)));
    let (mut out, mut len, mut input) = ([0; 64], 64, [5; 16]);
    let input = input.as_mut_ptr();
    log.code("update", call!(p11, C_EncryptUpdate(session, input, 16, out.as_mut_ptr(), &mut len)));
    log.0.push(format!("{len} {:02x?}", &out[..16]));
    let mut len = 64;
    log.code("final", call!(p11, C_EncryptFinal(session, out.as_mut_ptr(), &mut len)));
    log.number("final", Ok(len));
}

fn signatures(log: &mut Log, p11: &P11, session: CK_SESSION_HANDLE) {
    let key = known_key(p11, session);
    let (mut how, mut out, mut len) = (mechanism(CKM_AES_CMAC), [0; 64], 64);
    let data = b"data".as_ptr().cast_mut();
    log.code("sign init", call!(p11, C_SignInit(session, &mut how, key)));
    log.code("sign", call!(p11, C_Sign(session, data, 4, out.as_mut_ptr(), &mut len)));
    log.0.push(format!("{:02x?}", &out[..len as usize]));
    log.code("verify init", call!(p11, C_VerifyInit(session, &mut how, key)));
    log.code("verify", call!(p11, C_Verify(session, data, 4, out.as_mut_ptr(), len)));
    out[0] ^= 1;
    log.code("verify init", call!(p11, C_VerifyInit(session, &mut how, key)));
    log.code("verify a forgery", call!(p11, C_Verify(session, data, 4, out.as_mut_ptr(), len)));
    log.code("sign recover", call!(p11, C_SignRecoverInit(session, &mut how, key)));
}

fn wrapping(log: &mut Log, p11: &P11, session: CK_SESSION_HANDLE) {
    let (wrapping, mut how) = (known_key(p11, session), mechanism(CKM_AES_KEY_WRAP));
    let passing = p11.generate(session, &aes_with(&[Attribute::flag(CKA_EXTRACTABLE, true)])).unwrap();
    let mut len = 0;
    log.code("length", call!(p11, C_WrapKey(session, &mut how, wrapping, passing, null_mut(), &mut len)));
    log.number("length", Ok(len));
    let mut out = [0; 64];
    log.code("wrap", call!(p11, C_WrapKey(session, &mut how, wrapping, passing, out.as_mut_ptr(), &mut len)));
    let mut template = aes();
    template.retain(|one| one.0 != CKA_VALUE_LEN);
    let (mut template, mut back) = (raw(&mut template), 0);
    let (list, count) = (template.as_mut_ptr(), template.len() as u64);
    log.code(
        "unwrap",
        call!(p11, C_UnwrapKey(session, &mut how, wrapping, out.as_mut_ptr(), len, list, count, &mut back)),
    );
    let sealed = p11.encrypt(session, passing, &[1; 12], b"x").unwrap();
    log.bytes("the same key", p11.decrypt(session, back, &[1; 12], &sealed));
    out[0] ^= 1;
    log.code(
        "unwrap what is damaged",
        call!(p11, C_UnwrapKey(session, &mut how, wrapping, out.as_mut_ptr(), len, list, count, &mut back)),
    );
    let kept = p11.generate(session, &aes()).unwrap();
    log.code(
        "wrap what must stay",
        call!(p11, C_WrapKey(session, &mut how, wrapping, kept, out.as_mut_ptr(), &mut len)),
    );
    log.code("wrap with nothing", call!(p11, C_WrapKey(session, &mut how, 0, kept, out.as_mut_ptr(), &mut len)));
    log.code("destroy", p11.destroy(session, passing));
}

fn mistakes(log: &mut Log, p11: &P11, session: CK_SESSION_HANDLE) {
    let key = p11.generate(session, &aes()).unwrap();
    log.code("no such key", p11.encrypt_init(session, 888_888, &[1; 12]));
    log.code("no key", p11.encrypt_init(session, 0, &[1; 12]));
    log.code("no session", p11.encrypt_init(0, key, &[1; 12]));
    log.code("init", p11.encrypt_init(session, key, &[1; 12]));
    log.code("init over it", p11.encrypt_init(session, key, &[2; 12]));
    log.code("another init over it", p11.decrypt_init(session, key, &[2; 12]));
    log.code("the operation is still there", p11.encrypt_into(session, b"x", 32).0);
    log.number(
        "template that makes no sense",
        p11.generate(session, &aes_with(&[Attribute::number(CKA_VALUE_LEN, 5)])).map(|_| 0),
    );
    log.code("wait for slots", call!(p11, C_WaitForSlotEvent(CKF_DONT_BLOCK, &mut 0, null_mut())));
    let (mut out, mut len) = ([0; 8], 8);
    let at = out.as_mut_ptr();
    log.code("two at once", call!(p11, C_DigestEncryptUpdate(session, at, 8, at, &mut len)));
}
