//! Our functions, made from the table: each notes its arguments and sends the call through the pipeline.

use cryptoki_sys::*;

use super::call::{Call, Output};
use super::{C_GetFunctionList, find, interface, lifecycle, login, objects, pipeline, real, tokens};
use crate::function::{Function, for_each_function};

/// The C type of an argument with this role.
macro_rules! kind {
    (session) => {
        CK_SESSION_HANDLE
    };
    (object) => {
        CK_OBJECT_HANDLE
    };
    (slot) => {
        CK_SLOT_ID
    };
    (any_slot) => {
        CK_SLOT_ID
    };
    (mechanism) => {
        CK_MECHANISM_PTR
    };
    (template) => {
        CK_ATTRIBUTE_PTR
    };
    (count) => {
        CK_ULONG
    };
    (input) => {
        CK_BYTE_PTR
    };
    (length) => {
        CK_ULONG
    };
    (output) => {
        CK_BYTE_PTR
    };
    (output_len) => {
        CK_ULONG_PTR
    };
    (random) => {
        CK_BYTE_PTR
    };
    (random_len) => {
        CK_ULONG
    };
    (new) => {
        CK_OBJECT_HANDLE_PTR
    };
    (handles) => {
        CK_OBJECT_HANDLE_PTR
    };
    (new_session) => {
        CK_SESSION_HANDLE_PTR
    };
    (count_out) => {
        CK_ULONG_PTR
    };
    (text) => {
        CK_UTF8CHAR_PTR
    };
    (user) => {
        CK_USER_TYPE
    };
    (flags) => {
        CK_FLAGS
    };
    (notify) => {
        CK_NOTIFY
    };
    (void) => {
        CK_VOID_PTR
    };
    (boolean) => {
        CK_BBOOL
    };
    (slots) => {
        CK_SLOT_ID_PTR
    };
    (info) => {
        CK_INFO_PTR
    };
    (slot_info) => {
        CK_SLOT_INFO_PTR
    };
    (token_info) => {
        CK_TOKEN_INFO_PTR
    };
    (session_info) => {
        CK_SESSION_INFO_PTR
    };
    (mechanism_type) => {
        CK_MECHANISM_TYPE
    };
    (mechanism_types) => {
        CK_MECHANISM_TYPE_PTR
    };
    (mechanism_info) => {
        CK_MECHANISM_INFO_PTR
    };
}

/// What the pipeline must know of an argument with this role.
macro_rules! note {
    ($call:ident, session, $argument:ident) => {
        $call.session = Some($argument)
    };
    ($call:ident, object, $argument:ident) => {
        $call.objects.push($argument)
    };
    ($call:ident, slot, $argument:ident) => {
        $call.slot = Some($argument)
    };
    ($call:ident, mechanism, $argument:ident) => {
        $call.mechanism = $argument
    };
    ($call:ident, template, $argument:ident) => {
        $call.templates.push($argument)
    };
    ($call:ident, count, $argument:ident) => {
        $call.templates.push_count($argument)
    };
    ($call:ident, output, $argument:ident) => {
        $call.output = Output::Sized { at: $argument, len: std::ptr::null_mut(), room: 0 }
    };
    ($call:ident, output_len, $argument:ident) => {
        $call.output = with_length($call.output, $argument)
    };
    ($call:ident, random, $argument:ident) => {
        $call.output = Output::Random { at: $argument, len: 0 }
    };
    ($call:ident, random_len, $argument:ident) => {
        $call.output = random($call.output, $argument)
    };
    ($call:ident, count_out, $argument:ident) => {
        $call.output = Output::Count($argument)
    };
    ($call:ident, info, $argument:ident) => {
        $call.output = Output::Library($argument)
    };
    ($call:ident, slot_info, $argument:ident) => {
        $call.output = Output::Slot($argument)
    };
    ($call:ident, token_info, $argument:ident) => {
        $call.output = Output::Token($argument)
    };
    ($call:ident, $other:ident, $argument:ident) => {};
}

/// What goes on to the real module for an argument with this role.
macro_rules! translated {
    ($call:ident, session, $argument:ident) => {
        $call.real_session
    };
    ($call:ident, object, $argument:ident) => {
        $call.objects.next_real()
    };
    ($call:ident, $other:ident, $argument:ident) => {
        $argument
    };
}

macro_rules! go_on {
    ($module:ident, $call:ident, $function:ident($($argument:ident),*)) => { real!($module.$function($($argument),*)) };
    ($module:ident, $call:ident, $function:ident($($argument:ident),*), $handler:path) => {
        $handler($module, $call, $($argument),*)
    };
}

macro_rules! forward {
    ($($function:ident($($argument:ident: $role:ident),* $(,)?) $(=> $handler:path)?;)+) => {
        $(
            #[allow(non_snake_case, clippy::too_many_arguments, reason = "the names and the arguments are PKCS#11's")]
            unsafe extern "C" fn $function($($argument: kind!($role)),*) -> CK_RV {
                #[allow(unused_mut, reason = "a few functions have no argument of interest")]
                let mut call = Call::of(Function::$function);
                $(note!(call, $role, $argument);)*
                pipeline::run(call, |module, call| {
                    let _ = call;
                    $(let $argument = translated!(call, $role, $argument);)*
                    go_on!(module, call, $function($($argument),*) $(, $handler)?)
                })
            }
        )+

        /// Our functions for an interface of version 3.0.
        pub fn list_3_0() -> CK_FUNCTION_LIST_3_0 {
            CK_FUNCTION_LIST_3_0 {
                version: CK_VERSION { major: 3, minor: 0 },
                C_GetFunctionList: Some(C_GetFunctionList),
                C_GetInterface: Some(interface::C_GetInterface),
                C_GetInterfaceList: Some(interface::C_GetInterfaceList),
                $($function: Some($function)),+
            }
        }
    };
}
for_each_function!(forward);

/// The functions that a list of version 2.40 has, from `$from`.
macro_rules! narrow {
    ($from:expr, $version:expr, $to:ident { $($rest:tt)* }; $($function:ident)+) => {
        $to { version: $version, $($function: $from.$function,)+ $($rest)* }
    };
}

macro_rules! with_all_of_2_40 {
    ($from:expr, $version:expr, $to:ident { $($rest:tt)* }) => {
        narrow!($from, $version, $to { $($rest)* };
            C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo
            C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession C_CloseSession
            C_CloseAllSessions C_GetSessionInfo C_GetOperationState C_SetOperationState C_Login C_Logout C_CreateObject
            C_CopyObject C_DestroyObject C_GetObjectSize C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit
            C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate C_EncryptFinal C_DecryptInit
            C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest C_DigestUpdate C_DigestKey C_DigestFinal
            C_SignInit C_Sign C_SignUpdate C_SignFinal C_SignRecoverInit C_SignRecover C_VerifyInit C_Verify
            C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover C_DigestEncryptUpdate C_DecryptDigestUpdate
            C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey
            C_SeedRandom C_GenerateRandom C_GetFunctionStatus C_CancelFunction C_WaitForSlotEvent
        )
    };
}

/// Our functions for a list of version 2.40, which says the version that the real one says.
pub fn list(version: CK_VERSION) -> CK_FUNCTION_LIST {
    let all = list_3_0();
    with_all_of_2_40!(all, version, CK_FUNCTION_LIST {})
}

/// The functions of a 2.40 list with none of those of 3.0.
pub fn widen(list: &CK_FUNCTION_LIST) -> CK_FUNCTION_LIST_3_0 {
    with_all_of_2_40!(list, list.version, CK_FUNCTION_LIST_3_0 { ..Default::default() })
}

fn with_length(output: Output, len: CK_ULONG_PTR) -> Output {
    let Output::Sized { at, .. } = output else { return output };
    // SAFETY: PKCS#11 section 5.2: the place of the length holds the size of the buffer when there is a buffer.
    let room = if at.is_null() || len.is_null() { 0 } else { unsafe { *len } };
    Output::Sized { at, len, room }
}

fn random(output: Output, len: CK_ULONG) -> Output {
    match output {
        Output::Random { at, .. } => Output::Random { at, len },
        other => other,
    }
}
