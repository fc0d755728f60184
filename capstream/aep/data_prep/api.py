from capstream.aep.call import Answer
from capstream.kernel.ids import new_hex32
def handlers(sets, schemas):
    def create(call):
        b=call.json(); out=b.get("outputSchema") or {"schemaRef":{"id":b["xdmSchema"],"contentType":"application/vnd.adobe.xed-full+json;version=1"}}
        rows=[{"sourceType":m.get("sourceType","ATTRIBUTE"),"source":m.get("source") or m.get("sourceAttribute"),"destination":m.get("destination") or m.get("destinationXdmPath")} for m in b["mappings"]]
        doc={"id":new_hex32(),"version":0,"createdDate":call.now_ms,"modifiedDate":call.now_ms,"createdBy":call.caller.user_id,"modifiedBy":call.caller.user_id,"name":b.get("name",""),"outputSchema":out,"mappings":rows}
        sets.save(call.sandbox.id,doc)
        return Answer(body={k:doc[k] for k in ("id","version","createdDate","modifiedDate","createdBy","modifiedBy")})
    return {"createMappingSet":create}
