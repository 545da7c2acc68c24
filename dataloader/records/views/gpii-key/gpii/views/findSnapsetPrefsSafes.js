// Maintenance asks for all rows, or one by _id: the safes that hold snapsets, and never a person's own.
function findSnapsetPrefsSafes(doc) {
    if (doc.type === "prefsSafe" && doc.prefsSafeType === "snapset") {
        emit(doc._id, doc);
    }
}
