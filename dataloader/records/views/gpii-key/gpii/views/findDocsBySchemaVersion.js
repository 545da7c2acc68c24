// A migration asks with a schema version: every document of that version, whatever its type.
function findDocsBySchemaVersion(doc) {
    emit(doc.schemaVersion, doc);
}
