//! Four requests to valgrind's memcheck, from inside the program (`valgrind.h`, `memcheck.h`; "client requests").
//!
//! A request is an instruction sequence that does nothing on a processor and means something to valgrind. Outside valgrind
//! each of them does nothing and answers its default.

#![allow(unsafe_code, reason = "the instruction sequence of a client request")]

use std::arch::asm;

const RUNNING_ON_VALGRIND: usize = 0x1001;
const COUNT_ERRORS: usize = 0x1201;
/// Requests of memcheck begin here: 'M', 'C' and 16 bits.
const MEMCHECK: usize = 0x4d43_0000;
const MAKE_MEM_UNDEFINED: usize = MEMCHECK + 1;
const MAKE_MEM_DEFINED: usize = MEMCHECK + 2;
const GET_VBITS: usize = MEMCHECK + 8;

/// Whether this runs under valgrind.
pub fn is_running() -> bool {
    request([RUNNING_ON_VALGRIND, 0, 0, 0, 0, 0]) != 0
}

/// How many errors have been reported so far.
pub fn errors() -> usize {
    request([COUNT_ERRORS, 0, 0, 0, 0, 0])
}

/// From now on the bytes of `place` count as undefined, and so does what is computed from them.
pub fn make_secret<T: ?Sized>(place: &T) {
    request([MAKE_MEM_UNDEFINED, address(place), size_of_val(place), 0, 0, 0]);
}

/// The bytes of `place` count as defined.
pub fn make_public<T: ?Sized>(place: &T) {
    request([MAKE_MEM_DEFINED, address(place), size_of_val(place), 0, 0, 0]);
}

/// Whether a bit of `place` is undefined. Asking is no error.
pub fn is_secret<T: ?Sized>(place: &T) -> bool {
    let mut bits = vec![0u8; size_of_val(place)];
    let answer = request([GET_VBITS, address(place), bits.as_mut_ptr().expose_provenance(), bits.len(), 0, 0]);
    assert_eq!(answer, 1, "memcheck does not tell");
    // Valgrind wrote them, which the compiler cannot know.
    std::hint::black_box(&mut bits).iter().any(|byte| *byte != 0)
}

fn address<T: ?Sized>(place: &T) -> usize {
    std::ptr::from_ref(place).cast::<u8>().expose_provenance()
}

#[cfg(target_arch = "x86_64")]
fn request(request: [usize; 6]) -> usize {
    let mut answer = 0usize;
    // SAFETY: on a processor the rotations of rdi add up to 128 bits, which is none, and rbx is exchanged with itself. Under
    // valgrind rax is read as the address of the six words and rdx is written. The words live until after the sequence.
    unsafe {
        asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") request.as_ptr(),
            inout("rdx") answer,
        );
    }
    answer
}

#[cfg(target_arch = "aarch64")]
fn request(request: [usize; 6]) -> usize {
    let mut answer = 0usize;
    // SAFETY: on a processor the rotations of x12 add up to 128 bits, which is none, and x10 is or'ed with itself. Under
    // valgrind x4 is read as the address of the six words and x3 is written. The words live until after the sequence.
    unsafe {
        asm!(
            "ror x12, x12, #3", "ror x12, x12, #13", "ror x12, x12, #51", "ror x12, x12, #61", "orr x10, x10, x10",
            in("x4") request.as_ptr(),
            inout("x3") answer,
        );
    }
    answer
}
