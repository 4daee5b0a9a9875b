mod body;
mod head;
mod write;
