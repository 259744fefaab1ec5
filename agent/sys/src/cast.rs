//! Bytes in generic code, which knows their type by another name.

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, transmute, transmute_copy};

/// Returns `bytes` as a `T`, if `T` is `Vec<u8>`.
///
/// # Errors
/// Returns the bytes if `T` is another type.
pub fn bytes_as<T>(bytes: Vec<u8>) -> Result<T, Vec<u8>> {
    if id_of::<T>() != TypeId::of::<Vec<u8>>() {
        return Err(bytes);
    }
    let bytes = ManuallyDrop::new(bytes);
    // SAFETY: the types are the same: their ids are equal, and `Vec<u8>` has no lifetime in which
    // `T` could differ. The original is not dropped.
    Ok(unsafe { transmute_copy::<ManuallyDrop<Vec<u8>>, T>(&bytes) })
}

/// Returns the bytes of a list that is a `&Vec<u8>` or a `&[u8]`.
pub fn bytes_of<T>(list: &T) -> Option<&[u8]> {
    let id = id_of::<T>();
    if id == TypeId::of::<&'static Vec<u8>>() {
        // SAFETY: `T` is `&'a Vec<u8>`, as its id shows but for the lifetime, which is not shorter
        // than that of the reference to it.
        Some(unsafe { transmute::<&T, &&Vec<u8>>(list) })
    } else if id == TypeId::of::<&'static [u8]>() {
        // SAFETY: as above.
        Some(unsafe { transmute::<&T, &&[u8]>(list) })
    } else {
        None
    }
}

/// Returns the id of a type that may have lifetimes, which the id does not show.
fn id_of<T>() -> TypeId {
    trait HasId {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T> HasId for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let phantom = PhantomData::<T>;
    // SAFETY: only the lifetime changes. The method looks at no value of the type, and the
    // reference lives as long as this call.
    let phantom = unsafe { transmute::<&dyn HasId, &(dyn HasId + 'static)>(&phantom) };
    phantom.id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_of_bytes_are_bytes() {
        let bytes = vec![1u8, 2, 3];
        assert_eq!(bytes_of(&&bytes).unwrap().as_ptr(), bytes.as_ptr());
        assert_eq!(bytes_of(&&bytes[1..]), Some(&[2, 3][..]));
        assert_eq!(bytes_of(&bytes), None);
        assert_eq!(bytes_of(&&[1u8, 2]), None);
        assert_eq!(bytes_of(&&vec![1i8]), None);
        assert_eq!(bytes_of(&"text"), None);
    }

    #[test]
    fn bytes_become_only_what_they_are() {
        let bytes = vec![1, 2, 3];
        let place = bytes.as_ptr();
        let same: Vec<u8> = bytes_as(bytes).unwrap();
        assert_eq!((same.as_ptr(), &*same), (place, &[1, 2, 3][..]));
        fn with_lifetime(bytes: Vec<u8>, _: &u8) -> Result<Vec<&u8>, Vec<u8>> {
            bytes_as(bytes)
        }
        assert_eq!(with_lifetime(same.clone(), &1), Err(same.clone()));
        assert_eq!(bytes_as::<Vec<i8>>(same.clone()), Err(same.clone()));
        assert_eq!(bytes_as::<Box<[u8]>>(same.clone()), Err(same));
    }
}
