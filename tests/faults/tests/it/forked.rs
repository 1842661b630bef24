//! A call from a child that was forked, which PKCS#11 forbids.

use crate::call;
use crate::token::Bench;

#[test]
fn a_call_from_a_forked_child() {
    let bench = Bench::new();
    bench.open();
    assert_eq!(bench.control.complaints(), [""; 0]);
    // SAFETY: the child calls one function of the module, which SoftHSM2 answers without a lock, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        call!(bench.p11, C_GetFunctionStatus(1));
        // SAFETY: nothing of the parent's is to be cleaned up here.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: the child is ours, and its status is of no interest.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let expected = "C_GetFunctionStatus: called in a child of the process that loaded the module";
    crate::rules::until(|| bench.control.complaints() == [expected]);
}
