//! C_GetInterface, which a real module of 2.40 does not have and ours offers all the same.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::p11::P11;
use crate::token::Bench;

#[test]
fn the_interface_of_2_40_is_offered_for_a_module_of_2_40() {
    let bench = Bench::new();
    let interface = get(&bench.p11, c"PKCS 11".as_ptr().cast(), null_mut()).unwrap();
    // SAFETY: the answer was CKR_OK; the list begins with its version.
    let version = unsafe { *interface.pFunctionList.cast::<CK_VERSION>() };
    assert_eq!((version.major, version.minor), (2, 40));
    assert!(get(&bench.p11, null_mut(), &mut CK_VERSION { major: 2, minor: 40 }).is_some());
    assert!(get(&bench.p11, null_mut(), &mut CK_VERSION { major: 3, minor: 0 }).is_none());
    assert!(get(&bench.p11, c"Vendor".as_ptr().cast(), null_mut()).is_none());
}

#[test]
fn the_list_of_interfaces_is_counted_and_given() {
    let bench = Bench::new();
    let list = *bench.p11.library.C_GetInterfaceList.as_ref().unwrap();
    let (mut count, mut one) = (0, CK_INTERFACE::default());
    // SAFETY: the places are ours, and null is allowed where it is.
    unsafe {
        assert_eq!(list(null_mut(), &mut count), CKR_OK);
        assert_eq!(count, 1);
        assert_eq!(list(&mut one, &mut 0), CKR_BUFFER_TOO_SMALL);
        assert_eq!(list(&mut one, &mut count), CKR_OK);
    }
    assert!(!one.pFunctionList.is_null());
}

fn get(p11: &P11, name: *const u8, version: *mut CK_VERSION) -> Option<CK_INTERFACE> {
    let function = *p11.library.C_GetInterface.as_ref().unwrap();
    let mut found = null_mut();
    // SAFETY: the name is null or a C string, the version null or one, and the place for the pointer is ours.
    let code = unsafe { function(name.cast_mut(), version, &mut found, 0) };
    // SAFETY: on CKR_OK the pointer is to an interface.
    (code == CKR_OK).then(|| unsafe { *found })
}
