//! The table of PKCS#11's functions, from which the module's own ones, their names and their counters are made.

/// Calls the macro `$then` with the table.
///
/// A line is `name(argument: role, …)`. The role gives the argument's C type and says what the module does with it: a
/// `session` and an `object` are virtual handles to translate, `output` and `output_len` are what a fault may spoil, and so
/// on (`module/forward.rs`). With `=> handler` that function is called where others go to the real module.
macro_rules! for_each_function {
    ($then:ident) => {
        $then! {
            C_Initialize(args: void) => lifecycle::initialize;
            C_Finalize(reserved: void) => lifecycle::finalize;
            C_GetInfo(info: info);
            C_GetSlotList(present: boolean, slots: slots, count: count_out) => tokens::slot_list;
            C_GetSlotInfo(slot: any_slot, info: slot_info) => tokens::slot_info;
            C_GetTokenInfo(slot: slot, info: token_info) => tokens::token_info;
            C_GetMechanismList(slot: slot, list: mechanism_types, count: count_out);
            C_GetMechanismInfo(slot: slot, mechanism: mechanism_type, info: mechanism_info);
            C_InitToken(slot: slot, pin: text, pin_len: length, label: text);
            C_InitPIN(session: session, pin: text, pin_len: length);
            C_SetPIN(session: session, old: text, old_len: length, new: text, new_len: length) => login::set_pin;
            C_OpenSession(slot: slot, flags: flags, application: void, notify: notify, new: new_session)
                => lifecycle::open_session;
            C_CloseSession(session: session) => lifecycle::close_session;
            C_CloseAllSessions(slot: slot) => lifecycle::close_all_sessions;
            C_GetSessionInfo(session: session, info: session_info) => login::session_info;
            C_GetOperationState(session: session, output: output, output_len: output_len);
            C_SetOperationState(session: session, state: input, state_len: length, key: object, other: object);
            C_Login(session: session, user: user, pin: text, pin_len: length) => login::login;
            C_Logout(session: session) => login::logout;
            C_CreateObject(session: session, template: template, count: count, new: new) => objects::create_object;
            C_CopyObject(session: session, object: object, template: template, count: count, new: new)
                => objects::copy_object;
            C_DestroyObject(session: session, object: object) => objects::destroy_object;
            C_GetObjectSize(session: session, object: object, size: count_out);
            C_GetAttributeValue(session: session, object: object, template: template, count: count);
            C_SetAttributeValue(session: session, object: object, template: template, count: count);
            C_FindObjectsInit(session: session, template: template, count: count);
            C_FindObjects(session: session, found: handles, max: length, count: count_out) => find::find_objects;
            C_FindObjectsFinal(session: session);
            C_EncryptInit(session: session, mechanism: mechanism, key: object);
            C_Encrypt(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_EncryptUpdate(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_EncryptFinal(session: session, output: output, output_len: output_len);
            C_DecryptInit(session: session, mechanism: mechanism, key: object);
            C_Decrypt(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_DecryptUpdate(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_DecryptFinal(session: session, output: output, output_len: output_len);
            C_DigestInit(session: session, mechanism: mechanism);
            C_Digest(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_DigestUpdate(session: session, input: input, input_len: length);
            C_DigestKey(session: session, key: object);
            C_DigestFinal(session: session, output: output, output_len: output_len);
            C_SignInit(session: session, mechanism: mechanism, key: object);
            C_Sign(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_SignUpdate(session: session, input: input, input_len: length);
            C_SignFinal(session: session, output: output, output_len: output_len);
            C_SignRecoverInit(session: session, mechanism: mechanism, key: object);
            C_SignRecover(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_VerifyInit(session: session, mechanism: mechanism, key: object);
            C_Verify(session: session, input: input, input_len: length, signature: input, signature_len: length);
            C_VerifyUpdate(session: session, input: input, input_len: length);
            C_VerifyFinal(session: session, signature: input, signature_len: length);
            C_VerifyRecoverInit(session: session, mechanism: mechanism, key: object);
            C_VerifyRecover(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_DigestEncryptUpdate(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_DecryptDigestUpdate(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_SignEncryptUpdate(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_DecryptVerifyUpdate(session: session, input: input, input_len: length, output: output, output_len: output_len);
            C_GenerateKey(session: session, mechanism: mechanism, template: template, count: count, new: new)
                => objects::generate_key;
            C_GenerateKeyPair(
                session: session, mechanism: mechanism, public: template, public_count: count, private: template,
                private_count: count, new_public: new, new_private: new
            ) => objects::generate_key_pair;
            C_WrapKey(
                session: session, mechanism: mechanism, wrapping: object, key: object, output: output,
                output_len: output_len
            );
            C_UnwrapKey(
                session: session, mechanism: mechanism, unwrapping: object, wrapped: input, wrapped_len: length,
                template: template, count: count, new: new
            ) => objects::unwrap_key;
            C_DeriveKey(session: session, mechanism: mechanism, base: object, template: template, count: count, new: new)
                => objects::derive_key;
            C_SeedRandom(session: session, seed: input, seed_len: length);
            C_GenerateRandom(session: session, output: random, len: random_len);
            C_GetFunctionStatus(session: session);
            C_CancelFunction(session: session);
            C_WaitForSlotEvent(flags: flags, slot: slots, reserved: void);
            // Version 3.0.
            C_LoginUser(
                session: session, user: user, pin: text, pin_len: length, name: text, name_len: length
            ) => login::login_user;
            C_SessionCancel(session: session, flags: flags);
            C_MessageEncryptInit(session: session, mechanism: mechanism, key: object);
            C_EncryptMessage(
                session: session, parameter: void, parameter_len: length, aad: input, aad_len: length, input: input,
                input_len: length, output: output, output_len: output_len
            );
            C_EncryptMessageBegin(session: session, parameter: void, parameter_len: length, aad: input, aad_len: length);
            C_EncryptMessageNext(
                session: session, parameter: void, parameter_len: length, input: input, input_len: length,
                output: output, output_len: output_len, flags: flags
            );
            C_MessageEncryptFinal(session: session);
            C_MessageDecryptInit(session: session, mechanism: mechanism, key: object);
            C_DecryptMessage(
                session: session, parameter: void, parameter_len: length, aad: input, aad_len: length, input: input,
                input_len: length, output: output, output_len: output_len
            );
            C_DecryptMessageBegin(session: session, parameter: void, parameter_len: length, aad: input, aad_len: length);
            C_DecryptMessageNext(
                session: session, parameter: void, parameter_len: length, input: input, input_len: length,
                output: output, output_len: output_len, flags: flags
            );
            C_MessageDecryptFinal(session: session);
            C_MessageSignInit(session: session, mechanism: mechanism, key: object);
            C_SignMessage(
                session: session, parameter: void, parameter_len: length, input: input, input_len: length,
                output: output, output_len: output_len
            );
            C_SignMessageBegin(session: session, parameter: void, parameter_len: length);
            C_SignMessageNext(
                session: session, parameter: void, parameter_len: length, input: input, input_len: length,
                output: output, output_len: output_len
            );
            C_MessageSignFinal(session: session);
            C_MessageVerifyInit(session: session, mechanism: mechanism, key: object);
            C_VerifyMessage(
                session: session, parameter: void, parameter_len: length, input: input, input_len: length,
                signature: input, signature_len: length
            );
            C_VerifyMessageBegin(session: session, parameter: void, parameter_len: length);
            C_VerifyMessageNext(
                session: session, parameter: void, parameter_len: length, input: input, input_len: length,
                signature: input, signature_len: length
            );
            C_MessageVerifyFinal(session: session);
        }
    };
}
pub(crate) use for_each_function;

macro_rules! names {
    ($($function:ident($($argument:ident: $role:ident),* $(,)?) $(=> $handler:path)?;)+) => {
        /// A function of PKCS#11, versions 2.40 and 3.0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(non_camel_case_types, missing_docs, reason = "the names are PKCS#11's, and so is their documentation")]
        pub enum Function { $($function),+ }

        impl Function {
            /// All of them; each is at the place of its number.
            pub const ALL: &[Self] = &[$(Self::$function),+];

            /// `C_Encrypt` and the like.
            pub fn name(self) -> &'static str {
                match self { $(Self::$function => stringify!($function)),+ }
            }
        }
    };
}
for_each_function!(names);

impl Function {
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|function| function.name() == name)
    }

    /// Which operation of a session it begins, goes on with or ends.
    pub fn step(self) -> Option<(Operation, Step)> {
        use {Function::*, Operation::*, Step::*};
        Some(match self {
            C_EncryptInit => (Encrypt, Init),
            C_Encrypt => (Encrypt, Whole),
            C_EncryptUpdate => (Encrypt, Update),
            C_EncryptFinal => (Encrypt, Final),
            C_DecryptInit => (Decrypt, Init),
            C_Decrypt => (Decrypt, Whole),
            C_DecryptUpdate => (Decrypt, Update),
            C_DecryptFinal => (Decrypt, Final),
            C_DigestInit => (Digest, Init),
            C_Digest => (Digest, Whole),
            C_DigestUpdate | C_DigestKey => (Digest, Update),
            C_DigestFinal => (Digest, Final),
            C_SignInit => (Sign, Init),
            C_Sign => (Sign, Whole),
            C_SignUpdate => (Sign, Update),
            C_SignFinal => (Sign, Final),
            C_SignRecoverInit => (SignRecover, Init),
            C_SignRecover => (SignRecover, Whole),
            C_VerifyInit => (Verify, Init),
            C_Verify => (Verify, Whole),
            C_VerifyUpdate => (Verify, Update),
            C_VerifyFinal => (Verify, Final),
            C_VerifyRecoverInit => (VerifyRecover, Init),
            C_VerifyRecover => (VerifyRecover, Whole),
            C_FindObjectsInit => (Find, Init),
            C_FindObjects => (Find, Update),
            C_FindObjectsFinal => (Find, Final),
            _ => return None,
        })
    }

    /// Whether it makes an object in the HSM.
    pub fn creates(self) -> bool {
        use Function::*;
        matches!(self, C_CreateObject | C_CopyObject | C_GenerateKey | C_GenerateKeyPair | C_UnwrapKey | C_DeriveKey)
    }

    /// Whether it may come from another thread while the session is in a call: that is what it is for.
    pub fn may_interrupt(self) -> bool {
        matches!(self, Self::C_CancelFunction | Self::C_GetFunctionStatus | Self::C_SessionCancel)
    }
}

/// What a session can be in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    Encrypt,
    Decrypt,
    Digest,
    Sign,
    SignRecover,
    Verify,
    VerifyRecover,
    Find,
}

impl Operation {
    pub const COUNT: usize = 8;

    pub const ALL: [Self; Self::COUNT] = [
        Self::Encrypt,
        Self::Decrypt,
        Self::Digest,
        Self::Sign,
        Self::SignRecover,
        Self::Verify,
        Self::VerifyRecover,
        Self::Find,
    ];

    pub fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Where in an operation a function stands. `Whole` takes all the data at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Init,
    Whole,
    Update,
    Final,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_all_functions_of_2_40_and_3_0() {
        // 68 and 24, without the three that hand out the lists.
        assert_eq!(Function::ALL.len(), 68 + 24 - 3);
        assert_eq!(Function::named("C_Encrypt"), Some(Function::C_Encrypt));
        assert_eq!(Function::ALL[Function::C_Login as usize], Function::C_Login);
    }
}
