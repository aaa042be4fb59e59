"""ImageNet and its natural shifts: classes, named protocols, where copies lie and what is published about them."""
