// The Preferences Server asks with the key from a card, to find its owner's preferences.
// With include_docs=true the _id in the value brings the safe they are in; a key without a safe brings itself alone.
function findPrefsSafeByGpiiKey(doc) {
    var value;

    if (doc.type === "gpiiKey") {
        value = { gpiiKey: doc };
        if (doc.prefsSafeId) {
            value._id = doc.prefsSafeId;
        }
        emit(doc._id, value);
    }
}
