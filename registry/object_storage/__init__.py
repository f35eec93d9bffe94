"""Object storage by obstore: S3, Google Cloud Storage and Azure Blob Storage. No Django here."""
