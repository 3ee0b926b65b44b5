"""What makes files of this project, and what measures for its pages."""
