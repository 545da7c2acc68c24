// Maintenance asks for all rows: every key, to find the ones that belong to a snapset.
function findAllGpiiKeys(doc) {
    if (doc.type === "gpiiKey") {
        emit(doc._id, doc);
    }
}
