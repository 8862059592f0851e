//! Data sets in files: sound ones, and broken ones with the whole of what is said about them.

mod folder;

mod arrays;
mod cifar;
mod images;
mod mnist;
mod table;
mod text;
