"""An answer's bytes, made into a page of checked events or a named error."""
