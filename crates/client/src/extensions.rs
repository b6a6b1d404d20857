//! Extensions: what others have added to a client, one value of each type.
//!
//! A list that only grows, each node set once: reading takes no lock, so that a call on the application's thread never
//! waits, and a forked child never finds a lock that its parent held.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// The extensions of one client.
#[derive(Default)]
pub(crate) struct Extensions {
    first: Link,
}

type Link = OnceLock<Box<Node>>;

struct Node {
    /// An `Option<T>` that is never `None`: it is taken out of another option while the node is made.
    value: Box<dyn Any + Send + Sync>,
    next: Link,
}

impl Node {
    fn holding<T: Send + Sync + 'static>(extension: Option<T>) -> Box<Node> {
        Box::new(Node { value: Box::new(extension), next: Link::new() })
    }

    fn is<T: 'static>(&self) -> bool {
        self.value.is::<Option<T>>()
    }
}

/// There is an extension of this type already; here is the one that was not added.
pub struct ExtensionTaken<T>(pub T);

impl Extensions {
    /// Adds one, unless there is one of its type.
    pub(crate) fn add<T: Send + Sync + 'static>(&self, extension: T) -> Result<(), ExtensionTaken<T>> {
        let mut link = &self.first;
        let mut waiting = Some(extension);
        loop {
            let node = link.get_or_init(|| Node::holding(waiting.take()));
            let Some(extension) = waiting else { return Ok(()) };
            // Somebody else's.
            if node.is::<T>() {
                return Err(ExtensionTaken(extension));
            }
            waiting = Some(extension);
            link = &node.next;
        }
    }

    /// Adds one, in the place of one of its type.
    pub(crate) fn replace<T: Send + Sync + 'static>(&mut self, extension: T) {
        let mut link = &mut self.first;
        while link.get().is_some_and(|node| !node.is::<T>()) {
            let Some(node) = link.get_mut() else { return };
            link = &mut node.next;
        }
        match link.get_mut() {
            Some(node) => node.value = Box::new(Some(extension)),
            None => *link = Link::from(Node::holding(Some(extension))),
        }
    }

    /// The one of this type.
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        let mut link = &self.first;
        while let Some(node) = link.get() {
            if let Some(extension) = node.value.downcast_ref::<Option<T>>() {
                return extension.as_ref();
            }
            link = &node.next;
        }
        None
    }
}

impl<T> fmt::Debug for ExtensionTaken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExtensionTaken(..)")
    }
}

impl<T> fmt::Display for ExtensionTaken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client has an extension of the type {} already", std::any::type_name::<T>())
    }
}

impl<T> std::error::Error for ExtensionTaken<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_place() {
        let mut extensions = Extensions::default();
        extensions.replace(1_u8);
        extensions.replace("before");
        extensions.replace("text");
        assert!(extensions.add(7_u32).is_ok());
        let ExtensionTaken(back) = extensions.add("another").unwrap_err();
        assert_eq!(back, "another");
        assert_eq!(extensions.get::<&str>(), Some(&"text"));
        assert_eq!(extensions.get::<u32>(), Some(&7));
        assert_eq!(extensions.get::<u8>(), Some(&1));
        assert_eq!(extensions.get::<u64>(), None);
    }

    #[test]
    fn of_threads_that_add_the_same_type_one_succeeds() {
        struct Mine(usize);
        for _ in 0..200 {
            let extensions = Extensions::default();
            let added = std::thread::scope(|scope| {
                let threads = [0, 1, 2].map(|number| {
                    let extensions = &extensions;
                    scope.spawn(move || extensions.add(Mine(number)).is_ok())
                });
                threads.map(|thread| thread.join().unwrap())
            });
            assert_eq!(added.iter().filter(|added| **added).count(), 1);
            let winner = added.iter().position(|added| *added);
            assert_eq!(extensions.get::<Mine>().map(|mine| mine.0), winner);
        }
    }
}
